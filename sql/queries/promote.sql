insert into cxr.promotions (model_version, previous_version, kind, reason, decision_id)
values (%(model_version)s, %(previous_version)s, %(kind)s, %(reason)s, %(decision_id)s)
returning promotion_id
