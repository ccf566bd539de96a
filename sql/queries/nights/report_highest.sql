-- The predictions with the highest probability. All classes but the normal one take turns.
select i.image_id, i.object_key, i.etag, i.size_bytes, p.made, p.predicted_class, p.top_probability, p.model_version
from (
    select *, row_number() over (partition by predicted_class order by top_probability desc, image_id) as place
    from cxr.predictions
    where run_id = any(%(run_ids)s::uuid[]) and predicted_class <> %(normal)s
) p
join cxr.images i using (image_id)
where p.place <= %(images)s
order by p.place, p.top_probability desc, i.image_id
limit %(images)s
