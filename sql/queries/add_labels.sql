-- Labels name objects; they are kept by content, so that they outlive a move or a copy of the object.
insert into cxr.labels (content_sha256, class, patient_id, source)
select distinct on (i.content_sha256) i.content_sha256, s.class, s.patient_id, %(source)s
from sheet s
join cxr.images i on i.bucket = %(bucket)s and i.object_key = s.object_key and i.content_sha256 is not null
order by i.content_sha256, i.image_id desc
on conflict (content_sha256, source) do update
set class = excluded.class, patient_id = excluded.patient_id, labelled_at = now()
