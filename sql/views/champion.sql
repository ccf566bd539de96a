create or replace view cxr.champion as
select m.*, p.promotion_id, p.promoted_at
from cxr.promotions p
join cxr.model_versions m using (model_version)
order by p.promotion_id desc
limit 1;
comment on view cxr.champion is 'The model version that scores: the newest promotion.';
