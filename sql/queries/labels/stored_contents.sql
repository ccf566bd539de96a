select content_sha256 from cxr.images
where bucket = %(bucket)s and content_sha256 = any(%(contents)s) and state in ('scored', 'duplicate')
union
select content_sha256 from cxr.labelled_objects where bucket = %(bucket)s and content_sha256 = any(%(contents)s)
