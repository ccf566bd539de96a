-- A flow run that is retried continues with its row, unless the run has been judged or waits with a held run that took
-- it over.
insert into cxr.runs as r (run_id, flow, flow_run_id, bucket, night, code_version, settings)
values (%(run_id)s, %(flow)s, %(flow_run_id)s, %(bucket)s, %(night)s, %(code_version)s, %(settings)s)
on conflict (run_id) do update
set state = 'running', finished_at = null, message = null, resumed_by = null
where r.published_at is null and r.state in ('running', 'crashed', 'failed')
  and not exists (select from cxr.runs h where h.run_id = r.resumed_by and h.state = 'held')
