select message from cxr.retrainings where retraining_id = %(retraining_id)s
