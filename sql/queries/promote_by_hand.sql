insert into cxr.promotions (model_version, previous_version, kind, reason)
select m.model_version, c.model_version, case when c.model_version is null then 'bootstrap' else 'manual' end, %(reason)s
from cxr.model_versions m
left join cxr.champion c on true
where m.model_version = %(model_version)s and c.model_version is distinct from m.model_version
