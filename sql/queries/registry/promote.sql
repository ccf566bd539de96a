insert into cxr.promotions (model_version, previous_version, kind, reason, decision_id, promoted_by)
values (%(model_version)s, %(previous_version)s, %(kind)s, %(reason)s, %(decision_id)s,
        concat(session_user, ' (' || nullif(trim(%(by)s), '') || ')'))
returning promotion_id
