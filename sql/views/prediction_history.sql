create or replace view analysis.prediction_history as
select image_id, source_bucket as bucket, source_key as object_key, source_etag as etag, content_sha256,
       predicted_class, top_probability,
       analysis.probability_of(classes, probabilities, 'COVID-19')  as probability_covid_19,
       analysis.probability_of(classes, probabilities, 'NORMAL')    as probability_normal,
       analysis.probability_of(classes, probabilities, 'PNEUMONIA') as probability_pneumonia,
       classes, probabilities, model_version, model_made_data, night, scored_at, run_id, preprocessing_hash,
       code_version, runtime, made
from cxr.published_predictions;
comment on view analysis.prediction_history is
    'Every published prediction: one row per image content and model version, with its lineage.';
