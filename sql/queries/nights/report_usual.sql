-- Medians over the nights of this bucket that were published in the four weeks before. Runs of the same night are added
-- up.
with nights as (
    select before.night, sum(before.discovered)::integer as discovered,
           sum(before.quarantined + before.failed)::float8 / sum(before.discovered) as bad_share
    from cxr.runs before
    join cxr.runs this on this.run_id = %(run_id)s
    where before.bucket = this.bucket and before.flow = this.flow and before.published_at is not null
      and before.state = 'completed' and before.discovered > 0
      and before.night < this.night and before.night >= this.night - 28
    group by before.night
)
select count(*) as nights, percentile_disc(0.5) within group (order by discovered) as discovered,
       percentile_cont(0.5) within group (order by bad_share) as bad_share
from nights
