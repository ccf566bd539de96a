insert into cxr.decisions (
    retraining_id, outcome, sentence, champion_version, challengers, winner, gate, evidence, failures,
    data_fingerprint, test_fingerprint, test_images, test_patients, approved_by
) values (
    %(retraining_id)s, %(outcome)s, %(sentence)s, %(champion_version)s, %(challengers)s, %(winner)s, %(gate)s,
    %(evidence)s, %(failures)s, %(data_fingerprint)s, %(test_fingerprint)s, %(test_images)s, %(test_patients)s,
    %(approved_by)s
) returning decision_id
