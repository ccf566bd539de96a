-- The run or retraining that is named, whether it has a report or not; else the newest night or retraining that has a
-- report or a decision.
select report_key, decided
from (
    select run_id, report_key, started_at, false as retraining, null as decided from cxr.runs
    union all
    select r.retraining_id, r.report_key, r.started_at, true, d.sentence
    from cxr.retrainings r
    left join cxr.decisions d using (retraining_id)
) r
where run_id = %(run_id)s::uuid
   or (%(run_id)s::uuid is null and retraining = %(retraining)s and coalesce(report_key, decided) is not null)
order by started_at desc
limit 1
