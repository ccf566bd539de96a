select distinct on (l.content_sha256) i.object_key, i.etag, l.class, l.patient_id
from cxr.labels l
join cxr.images i on i.content_sha256 = l.content_sha256 and i.bucket = %(bucket)s and i.state in ('scored', 'duplicate')
order by l.content_sha256, l.labelled_at desc, l.label_id desc, i.image_id desc
