-- Assigns to a retraining the open triggers, and those of retrainings that crashed or failed: what they were fired for
-- has not been dealt with. A dry run deals with nothing and takes none.
update cxr.triggers t
set retraining_id = %(retraining_id)s
where t.bucket = %(bucket)s and not %(dry_run)s
  and (t.retraining_id is null
       or exists (select from cxr.retrainings r
                  where r.retraining_id = t.retraining_id and r.state in ('crashed', 'failed')));

select detail from cxr.triggers where retraining_id = %(retraining_id)s order by trigger_id
