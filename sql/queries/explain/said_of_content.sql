-- What analysts see for a content: its newest published prediction.
select predicted_class as predicted, top_probability as probability, model_version, night, runtime
from cxr.published_predictions
where content_sha256 = %(content)s
order by scored_at desc, model_version desc
limit 1
