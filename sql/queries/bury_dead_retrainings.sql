-- The caller holds the bucket's lock, so one that still says running has died.
update cxr.retrainings
set state = 'crashed', finished_at = now(), message = 'stopped without a word; found by a later one'
where bucket = %(bucket)s and retraining_id <> %(retraining_id)s and state = 'running'
returning retraining_id
