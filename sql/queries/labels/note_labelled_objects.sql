-- Notes where labelled contents lie. A content that lies under several keys is read from the key where it was seen
-- last.
insert into cxr.labelled_objects (
    content_sha256, bucket, object_key, etag, size_bytes, made, format, width, height, bit_depth, channels
)
select distinct on (content_sha256, bucket) * from noted order by content_sha256, bucket, object_key
on conflict (content_sha256, bucket) do update
set object_key = excluded.object_key, etag = excluded.etag, stored_at = now()
where (labelled_objects.object_key, labelled_objects.etag) <> (excluded.object_key, excluded.etag)
