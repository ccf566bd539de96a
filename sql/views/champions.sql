create or replace view analysis.champions as
select p.promotion_id, p.model_version, p.previous_version, p.kind, p.reason, p.promoted_by, d.approved_by, p.promoted_at,
       lead(p.promoted_at) over (order by p.promotion_id) as replaced_at, p.decision_id, m.recipe, m.made_data
from cxr.promotions p
join cxr.model_versions m using (model_version)
left join cxr.decisions d using (decision_id);
comment on view analysis.champions is
    'Every change of champion: who made it, when and why. The present champion has the highest promotion_id.';
comment on column analysis.champions.model_version is 'The model version that became champion.';
comment on column analysis.champions.reason is 'Why: the gate''s sentence, or the words of the person who made the change.';
