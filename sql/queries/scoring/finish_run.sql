update cxr.runs
set state = %(state)s, finished_at = now(), message = %(message)s, discovered = %(discovered)s, scored = %(scored)s,
    quarantined = %(quarantined)s, failed = %(failed)s, duplicate = %(duplicate)s, skipped = %(skipped)s,
    report_key = %(report_key)s, data_docs_key = %(data_docs_key)s,
    published_at = case when %(state)s = 'completed' then coalesce(published_at, now()) else published_at end
-- A run that has ended in another state or was taken over is left alone. The same state again is a repeat after a lost
-- answer.
where run_id = %(run_id)s and state in ('running', %(state)s)
