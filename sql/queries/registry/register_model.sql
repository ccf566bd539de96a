insert into cxr.model_versions (
    model_version, recipe, artifact_key, artifact_sha256, classes, preprocessing, preprocessing_hash, metrics,
    data_fingerprint, code_version, training, made_data, training_key
) values (
    %(model_version)s, %(recipe)s, %(artifact_key)s, %(artifact_sha256)s, %(classes)s, %(preprocessing)s,
    %(preprocessing_hash)s, %(metrics)s, %(data_fingerprint)s, %(code_version)s, %(training)s, %(made_data)s,
    %(training_key)s
) on conflict do nothing
