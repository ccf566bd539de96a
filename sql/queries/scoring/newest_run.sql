select state, message
from cxr.runs
where bucket = %(bucket)s
order by started_at desc
limit 1
