select count(*) as discovered,
       count(*) filter (where state = 'scored') as scored,
       count(*) filter (where state = 'quarantined') as quarantined,
       count(*) filter (where state = 'failed') as failed,
       count(*) filter (where state = 'duplicate') as duplicate
from cxr.images
where run_id = any(%(run_ids)s::uuid[])
