select count(*) filter (where disputed), count(*) filter (where disputed and source = 'adjudication'),
       count(*) filter (where patient_disputed)
from cxr.current_labels
