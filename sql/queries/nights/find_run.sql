select run_id from cxr.runs where run_id = %(run_id)s
