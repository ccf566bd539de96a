update cxr.runs r
set published_at = now(), discovered = c.discovered, scored = c.scored, quarantined = c.quarantined,
    failed = c.failed, duplicate = c.duplicate
from (
    select d.run_id, count(i.image_id) as discovered,
           count(*) filter (where i.state = 'scored') as scored,
           count(*) filter (where i.state = 'quarantined') as quarantined,
           count(*) filter (where i.state = 'failed') as failed,
           count(*) filter (where i.state = 'duplicate') as duplicate
    from cxr.runs d
    left join cxr.images i on i.run_id = d.run_id
    where d.resumed_by = %(run_id)s
    group by d.run_id
) c
where r.run_id = c.run_id and r.published_at is null and r.state in ('crashed', 'failed')
