update cxr.retrainings
set labels = %(labels)s, data_fingerprint = %(data_fingerprint)s, test_fingerprint = %(test_fingerprint)s
where retraining_id = %(retraining_id)s
