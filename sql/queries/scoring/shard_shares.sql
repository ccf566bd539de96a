select shard, count(*) filter (where state in ('quarantined', 'failed')) as bad, count(*) as total
from cxr.images
where run_id = any(%(run_ids)s::uuid[]) and shard is not null
group by run_id, shard
order by shard
