insert into cxr.triggers (bucket, kind, run_id, model_version, detail, labels)
values (%(bucket)s, %(kind)s, %(run_id)s, %(model_version)s, %(detail)s, %(labels)s)
