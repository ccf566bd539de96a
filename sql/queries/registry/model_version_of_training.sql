select model_version from cxr.model_versions where training_key = %(training_key)s
