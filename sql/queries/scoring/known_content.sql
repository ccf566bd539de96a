select distinct content_sha256 from cxr.prediction_keys where content_sha256 = any(%(hashes)s)
