update cxr.retrainings
set state = %(state)s, finished_at = now(), message = %(message)s
-- Not one that has ended; the same end again is a repeat whose first answer was lost.
where retraining_id = %(retraining_id)s and state in ('running', %(state)s)
