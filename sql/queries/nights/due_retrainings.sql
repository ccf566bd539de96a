-- Why a retraining is due: the triggers that none has taken up yet.
select detail
from cxr.triggers
where retraining_id is null
order by trigger_id
