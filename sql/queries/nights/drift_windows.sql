-- Two windows of published images that the champion scored: its first ones since its promotion, and the newest ones
-- after these. Only made or only real ones: whatever most of this night's images are.
-- Of a run that has more than a window still takes, the images with the smallest hashes come in: a fair sample of it.
-- Its first ones would be those of one ward or one device, whose keys come first in the listing.
with tonight as (
    select mode() within group (order by made) as made
    from cxr.images
    where run_id = any(%(run_ids)s::uuid[]) and state = 'scored'
), published as materialized (
    -- By when they became visible: a held run that is released later does not change the reference.
    select r.run_id, r.started_at, r.published_at, r.model_version, t.made
    from cxr.runs r
    join cxr.champion c on c.model_version = r.model_version and c.promoted_at <= r.published_at
    cross join tonight t
    where r.bucket = %(bucket)s and r.flow = %(flow)s and r.scored > 0
), reference as materialized (
    -- Run after run and no more than it takes: sorted as a whole, the images of all runs would be read first.
    select r.run_id, r.model_version, r.started_at, r.made, i.*
    from (select * from published order by published_at, run_id offset 0) r
    cross join lateral (
        select image_id, content_sha256, format, width, height, bit_depth, channels, mean, std, contrast
        from cxr.images
        where run_id = r.run_id and state = 'scored' and made = r.made
        order by content_sha256
        limit %(images)s
    ) i
    limit %(images)s
), newest as materialized (
    select r.run_id, r.model_version, r.started_at, r.made, i.*
    from (select * from published order by published_at desc, run_id desc offset 0) r
    cross join lateral (
        select image_id, content_sha256, format, width, height, bit_depth, channels, mean, std, contrast
        from cxr.images
        where run_id = r.run_id and state = 'scored' and made = r.made
          and image_id not in (select image_id from reference)
        order by content_sha256
        limit %(images)s
    ) i
    limit %(images)s
)
select w.is_reference, w.model_version, w.made, w.mean, w.std, w.contrast, w.width, w.height,
       w.width::float8 / nullif(w.height, 0) as aspect, w.bit_depth, w.channels, w.format, p.predicted_class,
       p.top_probability
from (select true as is_reference, * from reference union all select false, * from newest) w
join cxr.predictions p
  on p.image_id = w.image_id and p.run_id = w.run_id and p.model_version = w.model_version
 and p.scored_at >= w.started_at
