update cxr.images
set state = 'pending', reason = null, failed_expectations = '{}', run_id = null, shard = null, attempts = 0,
    decided_at = null
where bucket = %(bucket)s and state = any(%(states)s)
  and (%(reason)s::text is null or %(reason)s = any(failed_expectations) or position(lower(%(reason)s) in lower(reason)) > 0)
  and (%(run_id)s::uuid is null or run_id = %(run_id)s)
  and (%(key)s::text is null or object_key = %(key)s)
