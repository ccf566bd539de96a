-- How the images of these runs ended, and what they are like. `own` counts those that the reporting run decided itself.
select count(*) as discovered,
       count(*) filter (where state = 'scored') as scored,
       count(*) filter (where state = 'quarantined') as quarantined,
       count(*) filter (where state = 'failed') as failed,
       count(*) filter (where state = 'duplicate') as duplicate,
       count(*) filter (where run_id = %(run_id)s and state <> 'pending') as own,
       count(*) filter (where made) as made,
       count(*) filter (where made and state = 'scored') as made_scored,
       percentile_disc(array[0, 0.5, 1]) within group (order by width) as widths,
       percentile_disc(array[0, 0.5, 1]) within group (order by height) as heights
from cxr.images
where run_id = any(%(run_ids)s::uuid[])
