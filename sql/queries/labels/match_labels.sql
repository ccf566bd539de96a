-- The content that each key and each hash of a sheet refers to. A key stands for the newest version of its object;
-- there is no match if its content is unknown. A hash stands for any image with this content, wherever it lies.
with contents as materialized (
    select content_sha256 from cxr.images where content_sha256 in (select sha256 from wanted)
    union
    select content_sha256 from cxr.labelled_objects where content_sha256 in (select sha256 from wanted)
)
select w.object_key, w.sha256, i.content_sha256 as by_key,
       case when exists (select from contents c where c.content_sha256 = w.sha256) then w.sha256 end as by_sha256
from wanted w
left join lateral (
    select content_sha256 from cxr.images
    where bucket = %(bucket)s and object_key = w.object_key
    order by last_modified desc, image_id desc limit 1
) i on true
