select state, dry_run
from cxr.retrainings
where retraining_id = %(retraining_id)s
for update
