select promotion_id, model_version, previous_version, kind, reason, promoted_by, approved_by, promoted_at, decision_id,
       recipe, made_data
from analysis.champions
order by promotion_id desc
