-- The runs whose images this report covers, and how many images each run decided.
select r.run_id::text, r.state, r.started_at, count(i.image_id) as images
from cxr.runs r
left join cxr.images i on i.run_id = r.run_id and i.state <> 'pending'
where r.run_id = any(%(run_ids)s::uuid[])
group by r.run_id
order by r.started_at, r.run_id
