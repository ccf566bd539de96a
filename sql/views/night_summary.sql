create or replace view analysis.night_summary as
with decided as (
    select r.night, i.made, i.state, i.run_id, r.published_at, i.image_id
    from cxr.images i
    join cxr.runs r on r.run_id = i.run_id
), predicted as (
    select p.night, p.made,
           count(*) filter (where predicted_class = 'COVID-19')  as predicted_covid_19,
           count(*) filter (where predicted_class = 'NORMAL')    as predicted_normal,
           count(*) filter (where predicted_class = 'PNEUMONIA') as predicted_pneumonia,
           avg(top_probability)                                  as mean_top_probability,
           array_agg(distinct model_version order by model_version) as model_versions
    from cxr.published_predictions p
    group by p.night, p.made
)
select d.night, d.made,
       count(*)                                            as images,
       count(*) filter (where d.state = 'scored')          as scored,
       count(*) filter (where d.state = 'scored' and d.published_at is null) as scored_unpublished,
       count(*) filter (where d.state = 'quarantined')     as quarantined,
       count(*) filter (where d.state = 'failed')          as failed,
       count(*) filter (where d.state = 'duplicate')       as duplicate,
       count(*) filter (where d.state = 'pending')         as pending,
       coalesce(p.predicted_covid_19, 0)                   as predicted_covid_19,
       coalesce(p.predicted_normal, 0)                     as predicted_normal,
       coalesce(p.predicted_pneumonia, 0)                  as predicted_pneumonia,
       p.mean_top_probability, p.model_versions,
       count(distinct d.run_id)                            as runs
from decided d
left join predicted p on p.night = d.night and p.made = d.made
group by d.night, d.made, p.predicted_covid_19, p.predicted_normal, p.predicted_pneumonia,
         p.mean_top_probability, p.model_versions;
comment on view analysis.night_summary is
    'One row per night, and another one for its made data: how many images ended in each state, and how many were predicted of each class (published predictions only).';
comment on column analysis.night_summary.scored_unpublished is 'Scored, but the run is unfinished or was held: not yet in the other views.';
comment on column analysis.night_summary.pending is 'Claimed by a run that has not decided yet.';
