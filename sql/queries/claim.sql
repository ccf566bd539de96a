-- Claim what waits in this bucket and lay it out in shards: new images, those that a dead run left behind, and failed
-- ones that deserve another try. The caller holds the bucket's lock, so nobody else is claiming.
with waiting as (
    select image_id, (row_number() over (order by image_id) - 1) / %(shard_size)s as shard
    from cxr.images
    where bucket = %(bucket)s
      and (state = 'pending' or (%(retry_failed)s and state = 'failed' and attempts < %(max_attempts)s))
)
update cxr.images i
set state = 'pending', reason = null, run_id = %(run_id)s, shard = w.shard, attempts = i.attempts + 1, decided_at = null
from waiting w
-- The states again: a dead run's last commit may land while this waits for its rows.
where w.image_id = i.image_id and i.state in ('pending', 'failed')
