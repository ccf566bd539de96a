-- Internal: the one label of each content that counts. An adjudication overrides all others; without one, the latest
-- label counts. Values that it leaves empty (view, sex, age, site) are taken from other sources.
create or replace view cxr.current_labels as
select content_sha256,
       (array_agg(class order by place))[1] as class,
       (array_agg(patient_id order by place))[1] as patient_id,
       (array_agg(source order by place))[1] as source,
       (array_agg(labelled_at order by place))[1] as labelled_at,
       max(labelled_at) as newest_at,
       (array_agg(view order by place) filter (where view is not null))[1] as view,
       (array_agg(sex order by place) filter (where sex is not null))[1] as sex,
       (array_agg(age order by place) filter (where age is not null))[1] as age,
       (array_agg(site order by place) filter (where site is not null))[1] as site,
       count(distinct class) > 1 as disputed,
       count(distinct patient_id) > 1 as patient_disputed
from (
    select l.*, row_number() over (
        partition by l.content_sha256
        order by lower(l.source) = 'adjudication' desc, l.labelled_at desc, l.label_id desc
    ) as place
    from cxr.labels l
    where l.superseded_at is null
) ranked
group by content_sha256;
comment on view cxr.current_labels is 'The label of each content that counts: an adjudication if there is one, else the latest label.';
