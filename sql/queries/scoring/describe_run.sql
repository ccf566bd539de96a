update cxr.runs set model_version = %(model_version)s, runtime = %(runtime)s where run_id = %(run_id)s
