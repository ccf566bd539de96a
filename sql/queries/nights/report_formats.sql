select coalesce(format, 'unknown') as format, bit_depth, count(*) as images
from cxr.images
where run_id = any(%(run_ids)s::uuid[]) and content_sha256 is not null
group by 1, 2
order by images desc, 1, 2
