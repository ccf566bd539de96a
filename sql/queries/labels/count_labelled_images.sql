select count(distinct content_sha256) as images
from cxr.labels
where superseded_at is null
