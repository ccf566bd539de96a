create or replace view cxr.champion as
select m.*, p.promotion_id, p.promoted_at
from cxr.promotions p
join cxr.model_versions m using (model_version)
order by p.promotion_id desc
limit 1;
comment on view cxr.champion is 'The model version that scores: the newest promotion.';

create or replace view cxr.shadow as
select m.*, s.set_at
from (select * from cxr.shadows order by shadow_id desc limit 1) s
join cxr.model_versions m using (model_version)
where not exists (select from cxr.champion c where c.model_version = m.model_version);
comment on view cxr.shadow is
    'The model version on trial beside the champion: that of the newest row of shadows. No row if that names none, or names the champion.';
