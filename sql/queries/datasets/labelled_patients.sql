select content_sha256, patient_id from cxr.current_labels
