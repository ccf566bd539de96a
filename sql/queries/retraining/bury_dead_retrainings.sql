-- The caller holds the one lock of all retrainings, so any other retraining in state running has died.
update cxr.retrainings
set state = 'crashed', finished_at = now(), message = 'stopped without a word; found by a later one'
where retraining_id <> %(retraining_id)s and state = 'running'
returning retraining_id
