-- One set operation against what is known: object versions (key, etag) that no row of images has.
insert into cxr.images (bucket, object_key, etag, size_bytes, last_modified, made)
select distinct on (l.object_key, l.etag) %(bucket)s, l.object_key, l.etag, l.size_bytes, l.last_modified, l.made
from listing l
where not exists (
    select from cxr.images i where i.bucket = %(bucket)s and i.object_key = l.object_key and i.etag = l.etag
)
on conflict (bucket, object_key, etag) do nothing
