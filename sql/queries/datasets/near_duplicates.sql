select content_sha256, other_sha256 from cxr.near_duplicates
