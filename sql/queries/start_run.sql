insert into cxr.runs (run_id, flow, flow_run_id, bucket, night, code_version, settings)
values (%(run_id)s, %(flow)s, %(flow_run_id)s, %(bucket)s, %(night)s, %(code_version)s, %(settings)s)
on conflict (run_id) do nothing
