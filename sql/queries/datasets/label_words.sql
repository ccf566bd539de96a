-- Who was ever said to be on which image, superseded words and the patients of the splits included.
select content_sha256, patient_id from cxr.labels
union
select content_sha256, patient_id from cxr.splits
