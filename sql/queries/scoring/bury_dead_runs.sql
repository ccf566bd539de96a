-- Lock the runs first and their images second, as a commit does: a commit under way ends before its run is buried.
select from cxr.runs
where bucket = %(bucket)s and run_id <> %(run_id)s and state = 'running' and flow = %(flow)s
for update;

-- Count a crash for each image that a dead run was working on: one of them may have killed it.
update cxr.images i
set crashes = crashes + 1
from cxr.runs dead
where dead.run_id = i.run_id and dead.bucket = %(bucket)s and dead.run_id <> %(run_id)s and dead.state = 'running'
  and dead.flow = %(flow)s and i.state = 'pending' and i.begun;

-- The caller holds the bucket's lock, so any other run of this bucket in state running has died. What it committed is
-- judged and published with the run that takes over. Runs that a held run has taken over are left alone: they wait with
-- it until a person releases it.
update cxr.runs dead
set state = case when state = 'running' then 'crashed' else state end,
    finished_at = coalesce(finished_at, now()),
    message = case when state = 'running' then 'stopped without a word; taken over by a later run' else message end,
    resumed_by = %(run_id)s
where bucket = %(bucket)s and run_id <> %(run_id)s and published_at is null and flow = %(flow)s
  and state in ('running', 'crashed', 'failed')
  and not exists (select from cxr.runs h where h.run_id = dead.resumed_by and h.state = 'held')
returning run_id
