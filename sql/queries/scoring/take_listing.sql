-- Compares the temporary table `listing` with the known images, in two set operations.
analyze listing;

-- A version (key, etag) that comes back, because an older file has replaced a newer one, is the newest again.
update cxr.images i
set last_modified = l.last_modified
from listing l
where i.bucket = %(bucket)s and i.object_key = l.object_key and i.etag = l.etag and i.last_modified < l.last_modified;

-- A version that no row of images has is new.
insert into cxr.images (bucket, object_key, etag, size_bytes, last_modified, made)
select distinct on (l.object_key, l.etag) %(bucket)s, l.object_key, l.etag, l.size_bytes, l.last_modified, l.made
from listing l
where not exists (
    select from cxr.images i where i.bucket = %(bucket)s and i.object_key = l.object_key and i.etag = l.etag
)
on conflict (bucket, object_key, etag) do nothing
