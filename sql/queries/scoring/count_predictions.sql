select count(*) as predictions
from cxr.predictions
where run_id = any(%(run_ids)s::uuid[])
