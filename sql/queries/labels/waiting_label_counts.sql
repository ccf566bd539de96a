select why, class as label, count(*) as labels
from cxr.waiting_labels
where bucket = %(bucket)s and resolved_at is null
group by why, class
order by labels desc, label
