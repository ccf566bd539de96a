-- A run that is named is found with or without a report; else the newest of its kind with one.
select report_key
from (
    select run_id, report_key, started_at, false as retraining from cxr.runs
    union all
    select retraining_id, report_key, started_at, true from cxr.retrainings
) r
where run_id = %(run_id)s::uuid
   or (%(run_id)s::uuid is null and retraining = %(retraining)s and report_key is not null)
order by started_at desc
limit 1
