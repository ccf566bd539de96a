create or replace view analysis.shadow_summary as
select night, champion_version, shadow_version, made,
       count(*)                          as images,
       count(*) filter (where agree)     as agreeing,
       avg(agree::integer)::real         as agreement
from analysis.shadow_comparison
group by night, champion_version, shadow_version, made;
comment on view analysis.shadow_summary is
    'One row per night and pair of champion and shadow, and another one for made data: how often both predicted the same class.';
comment on column analysis.shadow_summary.images is 'Images of the night that both have scored.';
