-- The image with this id, or the newest version of the object with this key.
select image_id, object_key, etag, size_bytes, made, content_sha256
from cxr.images
where bucket = %(bucket)s and (image_id = %(image_id)s or object_key = %(key)s)
order by last_modified desc, image_id desc
limit 1
