-- Marks the undecided images of a shard before work on them begins. If an image kills the run, the marks show which
-- images it was working on.
with begun as (
    update cxr.images set begun = true
    where run_id = %(run_id)s and shard = %(shard)s and state = 'pending'
    returning image_id, object_key, etag, size_bytes, made
)
select * from begun order by image_id
