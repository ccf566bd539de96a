select count(*), count(*) filter (where disputed), count(*) filter (where disputed and source = 'adjudication'),
       count(*) filter (where patient_disputed),
       count(*) filter (where newest_at > coalesce(
           (select max(started_at) from cxr.retrainings where bucket = %(bucket)s and state = 'completed' and not dry_run),
           '-infinity'
       )),
       (select count(*) from cxr.near_duplicates),
       count(*) filter (where not exists (select from cxr.splits s where s.content_sha256 = c.content_sha256))
from cxr.current_labels c
