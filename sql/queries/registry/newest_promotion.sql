select model_version, previous_version, kind
from cxr.promotions
order by promotion_id desc
limit 1
