-- Images without a prediction, every kind of reason in turn, so that a rare one is not lost behind a frequent one.
select image_id, object_key, etag, size_bytes, made, state, failed_expectations, reason
from (
    select *, row_number() over (
        partition by state, case state when 'quarantined' then failed_expectations[1] else reason end order by image_id
    ) as place
    from cxr.images
    where run_id = any(%(run_ids)s::uuid[]) and state in ('quarantined', 'failed')
) i
where place <= %(images)s
order by place, state = 'failed', failed_expectations, image_id
limit %(images)s
