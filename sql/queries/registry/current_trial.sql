-- The model version that scores beside the champion, with the word that put it there.
select s.model_version, s.set_at, s.set_by, s.reason
from cxr.shadows s
join cxr.shadow using (model_version)
order by s.shadow_id desc
limit 1
