-- The triggers that no retraining has taken up yet, oldest first.
select detail
from cxr.triggers
where retraining_id is null
order by trigger_id
