select waiting_id, object_key, content_sha256, class as label, patient_id, source, view, sex, age, site, received_at
from cxr.waiting_labels
where bucket = %(bucket)s and resolved_at is null
order by waiting_id
