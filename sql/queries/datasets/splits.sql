select content_sha256, split from cxr.splits
