-- A flow run that is retried continues with its row, unless the retraining has completed.
insert into cxr.retrainings as r (retraining_id, flow_run_id, bucket, cause, dry_run, code_version)
values (%(retraining_id)s, %(flow_run_id)s, %(bucket)s, %(cause)s, %(dry_run)s, %(code_version)s)
on conflict (retraining_id) do update
set state = 'running', finished_at = null, message = null
where r.state <> 'completed'
