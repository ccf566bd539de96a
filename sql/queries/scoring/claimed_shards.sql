select shard, count(*) as images, bool_or(crashes >= %(apart_after)s) as suspect
from cxr.images
where run_id = %(run_id)s and state = 'pending'
group by shard
order by shard
