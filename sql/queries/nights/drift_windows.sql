-- Two windows of published images that the champion scored: the first ones since its promotion (the reference), and the
-- newest ones that are not in the reference. Both windows hold either made data or real data only, whichever most of
-- this night's images are. If a run has more images than a window has room for, those with the smallest hashes are
-- taken: a fair sample. The first ones in the listing would not be, since they may all come from one ward or one
-- device.
with tonight as (
    select mode() within group (order by made) as made
    from cxr.images
    where run_id = any(%(run_ids)s::uuid[]) and state = 'scored'
), published as materialized (
    -- The order is that of publication, so a held run that is released later does not change the reference.
    select r.run_id, r.started_at, r.published_at, r.model_version, t.made
    from cxr.runs r
    join cxr.champion c on c.model_version = r.model_version and c.promoted_at <= r.published_at
    cross join tonight t
    where r.bucket = %(bucket)s and r.flow = %(flow)s and r.scored > 0
), reference as materialized (
    -- Read run after run until the window is full. Sorting all images at once would read those of every run.
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
