update cxr.runs
set state = case when run_id = %(run_id)s then 'completed' else state end, published_at = now(),
    released_by = concat(session_user, ' (' || nullif(trim(%(by)s), '') || ')'), release_reason = %(reason)s
where published_at is null
  and exists (select from cxr.runs held where held.run_id = %(run_id)s and held.state = 'held')
  and (run_id = %(run_id)s or resumed_by = %(run_id)s)
returning run_id::text
