select count(*) as images,
       count(*) filter (where disputed) as disputed,
       count(*) filter (where disputed and source = 'adjudication') as adjudicated,
       count(*) filter (where patient_disputed) as patients_disputed,
       count(*) filter (where newest_at > coalesce(
           (select max(started_at) from cxr.retrainings where bucket = %(bucket)s and state = 'completed' and not dry_run),
           '-infinity'
       )) as fresh,
       (select count(*) from cxr.near_duplicates) as near_duplicates,
       count(*) filter (where not exists (select from cxr.splits s where s.content_sha256 = c.content_sha256)) as unassigned
from cxr.current_labels c
