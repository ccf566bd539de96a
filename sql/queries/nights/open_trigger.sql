select trigger_id, run_id, kind, detail, fired_at, flow_run_id
from cxr.triggers
where bucket = %(bucket)s and retraining_id is null
order by trigger_id desc
limit 1
