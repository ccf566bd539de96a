create or replace view analysis.class_probabilities as
select p.image_id, p.content_sha256, p.model_version, p.night, p.scored_at, c.class, c.probability,
       c.class = p.predicted_class as predicted, p.made
from cxr.published_predictions p
cross join lateral unnest(p.classes, p.probabilities) as c (class, probability);
comment on view analysis.class_probabilities is
    'Every published prediction in long form: one row per image content, model version and class.';
