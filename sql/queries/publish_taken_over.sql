update cxr.runs set published_at = now()
where resumed_by = %(run_id)s and published_at is null and state in ('crashed', 'failed')
