-- Of all stored events, also those that the purpose may not see: they are counted, and nothing else is told of them.
SELECT
    toString(type) AS kind,
    if(left_out = '', 'included', left_out) AS outcome,
    {{people "1"}},
    count() AS events
FROM gate
GROUP BY kind, outcome
