-- The segments of a site, or the one with a name, each as it was written last. A deleted one says so.
SELECT name, filters, toString(created_by), time, deleted
FROM segments
WHERE site = {site:String} AND ({name:String} = '' OR name = {name:String})
ORDER BY name, time DESC
LIMIT 1 BY name
