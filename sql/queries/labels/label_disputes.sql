select count(*) filter (where disputed) as images,
       count(*) filter (where disputed and source = 'adjudication') as adjudicated,
       count(*) filter (where patient_disputed) as patients
from cxr.current_labels
