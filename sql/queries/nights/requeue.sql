-- Images that a run at work has decided are left alone: the run will count them.
update cxr.images i
set state = 'pending', reasons = null, failed_expectations = '{}', run_id = null, shard = null, attempts = 0,
    crashes = 0, begun = false, decided_at = null
where bucket = %(bucket)s and state = any(%(states)s)
  and (%(reason)s::text is null or %(reason)s = any(failed_expectations)
       or position(lower(%(reason)s) in lower(cxr.reason_text(failed_expectations, reasons))) > 0)
  and (%(run_id)s::uuid is null
       or run_id in (select run_id from cxr.runs where run_id = %(run_id)s or resumed_by = %(run_id)s))
  and (%(key)s::text is null or object_key = %(key)s)
  and not exists (select from cxr.runs r where r.run_id = i.run_id and r.state = 'running')
