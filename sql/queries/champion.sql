select model_version, artifact_key, artifact_sha256, classes, preprocessing_hash, made_data from cxr.champion
