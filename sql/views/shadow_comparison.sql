create or replace view analysis.shadow_comparison as
select p.image_id, p.content_sha256, p.night, p.run_id, p.made,
       p.model_version as champion_version, p.predicted_class as champion_class, p.top_probability as champion_probability,
       s.model_version as shadow_version, s.predicted_class as shadow_class, s.top_probability as shadow_probability,
       p.predicted_class = s.predicted_class as agree,
       p.classes as champion_classes, p.probabilities as champion_probabilities,
       m.classes as shadow_classes, s.probabilities as shadow_probabilities
from cxr.published_predictions p
join cxr.shadow_predictions s
    on s.content_sha256 = p.content_sha256 and s.run_id = p.run_id and s.model_version <> p.model_version
join cxr.model_versions m on m.model_version = s.model_version;
comment on view analysis.shadow_comparison is
    'The prediction of the shadow, a model version on trial, beside the champion''s published prediction for each image. No other view shows the predictions of a shadow.';
