select image_id, object_key, etag, size_bytes, made
from cxr.images
where run_id = %(run_id)s and shard = %(shard)s and state = 'pending'
order by image_id
