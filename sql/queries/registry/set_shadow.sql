insert into cxr.shadows (model_version, reason, set_by)
select %(wanted)s::text, %(reason)s, concat(session_user, ' (' || nullif(trim(%(by)s), '') || ')')
where not exists (select from cxr.champion where model_version = %(wanted)s)
