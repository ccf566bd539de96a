select d.decision_id, d.outcome, d.sentence, p.promotion_id
from cxr.decisions d
left join cxr.promotions p using (decision_id)
where d.retraining_id = %(retraining_id)s
