select model_version, recipe, artifact_key, artifact_sha256, classes, preprocessing, preprocessing_hash, made_data
from cxr.shadow
