update cxr.runs
set state = %(state)s, finished_at = now(), message = %(message)s, discovered = %(discovered)s, scored = %(scored)s,
    quarantined = %(quarantined)s, failed = %(failed)s, duplicate = %(duplicate)s, skipped = %(skipped)s,
    report_key = %(report_key)s, data_docs_key = %(data_docs_key)s,
    published_at = case when %(state)s = 'completed' then coalesce(published_at, now()) else published_at end
-- Not a run that ended or was taken over; the same end again is a repeat whose first answer was lost.
where run_id = %(run_id)s and state in ('running', %(state)s)
