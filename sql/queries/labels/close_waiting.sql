update cxr.waiting_labels set resolved_at = now()
where waiting_id = any(%(waiting)s) and resolved_at is null
returning waiting_id
