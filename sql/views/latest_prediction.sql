create or replace view analysis.latest_prediction as
with newest_prediction as (
    select distinct on (content_sha256) *
    from cxr.published_predictions
    order by content_sha256, scored_at desc, model_version desc
)
select distinct on (i.bucket, i.object_key)
       i.image_id, i.bucket, i.object_key, i.etag, i.content_sha256, i.last_modified,
       p.predicted_class, p.top_probability,
       analysis.probability_of(p.classes, p.probabilities, 'COVID-19')  as probability_covid_19,
       analysis.probability_of(p.classes, p.probabilities, 'NORMAL')    as probability_normal,
       analysis.probability_of(p.classes, p.probabilities, 'PNEUMONIA') as probability_pneumonia,
       p.classes, p.probabilities, p.model_version, p.model_made_data, p.night, p.scored_at, p.run_id,
       p.preprocessing_hash, p.code_version, p.runtime, i.duplicate_of, i.made
from cxr.images i
join cxr.runs r on r.run_id = i.run_id and r.published_at is not null
join newest_prediction p on p.content_sha256 = i.content_sha256
where i.state in ('scored', 'duplicate')
order by i.bucket, i.object_key, i.last_modified desc, i.image_id desc;
comment on view analysis.latest_prediction is
    'One row per object: its newest version that has a published prediction, with the latest one. An object with the same content as another shows the prediction of that one (duplicate_of).';
