-- Predictions by model version, class and bin of top_probability. Bin 0 reaches from 0 to 1/bins.
select model_version, predicted_class,
       least(width_bucket(top_probability::float8, 0, 1, %(bins)s), %(bins)s) - 1 as bin,
       count(*) as images, sum(top_probability::float8) as probability_sum
from cxr.predictions
where run_id = any(%(run_ids)s::uuid[])
group by 1, 2, 3
