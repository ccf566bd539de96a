select night, to_char(started_at, 'YYYY-MM-DD HH24:MI'),
       case when resumed_by is not null then state || ', taken over' else state end,
       run_id, message
from cxr.runs
order by started_at desc
limit %(runs)s
