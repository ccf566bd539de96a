-- Claims the images that wait in this bucket and divides them into shards: new images, images that a dead run left
-- undecided, and failed images that have attempts left. The caller holds the bucket's lock, so nobody else is claiming.
-- Undecided images are looked for in unpublished runs only: a published run has decided all of its images.

-- Give up an image that has crashed too many runs. In the last of them it was alone in its shard, so it must be the
-- cause: a decoder that crashes on it takes the process down with it.
update cxr.images
set state = 'failed', decided_at = now(), run_id = %(run_id)s, shard = null, attempts = %(max_attempts)s,
    reasons = array['given up: ' || crashes || ' runs died while they were at work on it; cxr replay takes it again']
where run_id in (select run_id from cxr.runs where bucket = %(bucket)s and published_at is null)
  and state = 'pending' and crashes >= %(given_up_after)s;

-- An image that several runs died on gets a shard of its own, after all others. The images with the most crashes come
-- last.
with waiting as (
    select image_id, crashes, false as suspect
    from cxr.images
    where bucket = %(bucket)s and run_id is null and state = 'pending'
    union all
    select image_id, crashes, crashes >= %(apart_after)s
    from cxr.images
    where run_id in (select run_id from cxr.runs where bucket = %(bucket)s and published_at is null)
      and state = 'pending'
    union all
    select image_id, crashes, false
    from cxr.images
    where bucket = %(bucket)s and attempts > 0 and %(retry_failed)s and state = 'failed' and attempts < %(max_attempts)s
), counted as (
    select image_id, suspect, count(*) filter (where not suspect) over () as unsuspected,
           row_number() over (partition by suspect
                              order by case when suspect then crashes end, image_id) - 1 as place
    from waiting
), laid_out as (
    select image_id,
           case when suspect then (unsuspected + %(shard_size)s - 1) / %(shard_size)s + place
                else place / %(shard_size)s end as shard
    from counted
)
update cxr.images i
set state = 'pending', reasons = null, run_id = %(run_id)s, shard = w.shard, begun = false, decided_at = null
from laid_out w
-- Check the state again: a dead run's last commit may land while this statement waits for its rows.
where w.image_id = i.image_id and i.state in ('pending', 'failed')
