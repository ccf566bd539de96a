-- Said before the work begins, so that a run which dies of an image leaves word of which ones it was at work on.
with begun as (
    update cxr.images set begun = true
    where run_id = %(run_id)s and shard = %(shard)s and state = 'pending'
    returning image_id, object_key, etag, size_bytes, made
)
select * from begun order by image_id
