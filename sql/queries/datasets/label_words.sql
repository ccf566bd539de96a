-- Which patient each image was ever said to show; superseded labels and the patients of the splits are included.
select content_sha256, patient_id from cxr.labels
union
select content_sha256, patient_id from cxr.splits
