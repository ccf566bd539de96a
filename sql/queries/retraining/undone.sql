-- When and why a person last decided against a model version: by a rollback, by promoting another one in its place, or
-- by declining it. No row if a person has promoted it since.
select what, happened_at, why
from (
    select case p.kind when 'rollback' then 'rolled back' else 'replaced by hand' end as what,
           p.promoted_at as happened_at, p.reason as why
    from cxr.promotions p
    where p.kind in ('rollback', 'manual') and p.previous_version = %(model_version)s
    union all
    select 'declined', d.decided_at, d.sentence
    from cxr.decisions d
    where d.outcome = 'declined' and d.winner = %(model_version)s and d.approved_by is not null
) u
where not exists (
    select from cxr.promotions p
    left join cxr.decisions d using (decision_id)
    where p.model_version = %(model_version)s and p.promoted_at > u.happened_at
      and (p.kind = 'manual' or d.approved_by is not null)
)
order by happened_at desc
limit 1
