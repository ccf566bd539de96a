-- Labelled contents that a night has quarantined and no night has ever scored.
select distinct i.content_sha256
from cxr.images i
join cxr.current_labels l using (content_sha256)
where i.state = 'quarantined'
  and not exists (select from cxr.prediction_keys k where k.content_sha256 = i.content_sha256)
