select object_key, etag, content_sha256 from cxr.labelled_objects where bucket = %(bucket)s and object_key = any(%(keys)s)
