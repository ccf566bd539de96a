-- Images without a prediction. The kinds of reasons take turns, so that a rare one is not lost behind a frequent one.
select image_id, object_key, etag, size_bytes, made, state, failed_expectations,
       (array_remove(reasons, null))[1] as found
from (
    select *, row_number() over (
        partition by state, coalesce(failed_expectations[1], reasons[1]) order by image_id
    ) as place
    from cxr.images
    where run_id = any(%(run_ids)s::uuid[]) and state in ('quarantined', 'failed')
) i
where place <= %(images)s
order by place, state = 'failed', failed_expectations, image_id
limit %(images)s
