select distinct class as label
from cxr.labels
where superseded_at is null
order by label
