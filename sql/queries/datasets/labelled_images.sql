-- Each labelled content with an object of this bucket that holds it: one that a night has scored and that has not been
-- overwritten since, else one that was stored with its label. The object's columns are null if the bucket holds none.
select l.content_sha256, l.class as label, o.object_key, o.etag, o.made, o.size_bytes, o.format, o.width, o.height,
       o.bit_depth, o.channels, l.view, l.sex, l.age, l.site
from cxr.current_labels l
left join (
    select distinct on (content_sha256) *
    from (
        select i.content_sha256, i.object_key, i.etag, i.made, i.size_bytes, i.format, i.width, i.height, i.bit_depth,
               i.channels, 1 as choice, i.last_modified as moment
        from cxr.images i
        where i.bucket = %(bucket)s and i.state in ('scored', 'duplicate')
          and not exists (
              select from cxr.images n
              where n.bucket = i.bucket and n.object_key = i.object_key
                and (n.last_modified, n.image_id) > (i.last_modified, i.image_id)
          )
        union all
        select content_sha256, object_key, etag, made, size_bytes, format, width, height, bit_depth, channels, 2, stored_at
        from cxr.labelled_objects
        where bucket = %(bucket)s
    ) found
    order by content_sha256, choice, moment desc
) o using (content_sha256)
order by l.content_sha256
