select distinct content_sha256 from cxr.images where state = 'scored' and content_sha256 = any(%(hashes)s)
