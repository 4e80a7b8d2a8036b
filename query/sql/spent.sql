-- What releases have spent of the budget of each day of the data.
SELECT toString(sum(epsilon)), toString(sum(delta))
FROM dp_budget
WHERE site = {site:String}
    AND purpose = {purpose:String}
    AND day >= toDate({first:String})
    AND day <= toDate({last:String})
GROUP BY day
