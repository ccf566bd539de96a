-- What the end of a night must know to ask for a retraining once, and not every night.
with answered as (
    -- A retraining that is under way or has completed covers what was there when it began. A dry run changes nothing.
    select started_at, labels from cxr.retrainings
    where bucket = %(bucket)s and not dry_run and state in ('running', 'completed')
), asked as (
    select kind, labels, fired_at from cxr.triggers where bucket = %(bucket)s
), since as (
    select greatest((select max(started_at) from answered), (select max(fired_at) from asked)) as moment,
           greatest((select max(labels) from answered), (select max(labels) from asked)) as labels
), labelled as (
    select count(*) as images, count(*) filter (where l.newest_at > coalesce(s.moment, '-infinity')) as later,
           count(*) - coalesce(max(s.labels), 0) as more
    from (
        select content_sha256, max(labelled_at) as newest_at
        from cxr.labels where superseded_at is null
        group by content_sha256
    ) l
    cross join since s
), watched as (
    select d.run_id, min(d.measured_at) as measured_at, bool_or(d.drifted) as drifted,
           array_agg(d.measure order by d.value desc) filter (where d.drifted) as measures
    from cxr.drift d
    join cxr.champion c on c.model_version = d.model_version and d.measured_at >= c.promoted_at
    join cxr.runs r on r.run_id = d.run_id and r.bucket = %(bucket)s
    group by d.run_id
), onset as (
    -- When the present drift began: every night since then has drifted. Null if the newest night has not.
    select min(measured_at) as moment
    from watched
    where measured_at > coalesce((select max(measured_at) from watched where not drifted), '-infinity')
)
select l.images,
       -- `later` misses labels that waited for their image, since they are as old as their sheet; `more` misses
       -- corrections, since they add no image. The larger of the two misses neither.
       greatest(l.later, l.more) as new_labels,
       o.moment is not null
           and not exists (select from answered where started_at >= o.moment)
           and not exists (select from asked where kind = 'drift' and fired_at >= o.moment) as drift_unanswered,
       (select measures from watched order by measured_at desc limit 1) as measures,
       (select model_version from cxr.champion) as champion
from labelled l
cross join onset o
