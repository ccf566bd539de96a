update cxr.triggers set flow_run_id = %(flow_run_id)s where trigger_id = %(trigger_id)s
