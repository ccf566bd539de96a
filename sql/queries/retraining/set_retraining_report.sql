update cxr.retrainings set report_key = %(report_key)s where retraining_id = %(retraining_id)s
