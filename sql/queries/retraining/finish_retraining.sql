update cxr.retrainings
set state = %(state)s, finished_at = now(), message = %(message)s
-- A retraining that has ended in another state is left alone. The same state again is a repeat after a lost answer.
where retraining_id = %(retraining_id)s and state in ('running', %(state)s)
