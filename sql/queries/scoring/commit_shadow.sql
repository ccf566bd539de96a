-- Writes the shadow's predictions, only for images that this run's champion has scored and committed. A duplicate, or
-- an image that another run has taken over, has no such row.
insert into cxr.shadow_predictions (
    content_sha256, model_version, image_id, predicted_class, top_probability, probabilities, night, run_id,
    preprocessing_hash, code_version, runtime, made
)
select p.content_sha256, %(model_version)s, p.image_id, r.predicted_class, r.top_probability, r.probabilities, p.night,
       p.run_id, %(preprocessing_hash)s, %(code_version)s, %(runtime)s, p.made
from shadow_result r
join cxr.predictions p on p.image_id = r.image_id and p.run_id = %(run_id)s
on conflict do nothing
