select r.night, r.state, r.message, r.skipped, r.started_at, coalesce(r.finished_at, now()) as finished_at,
       r.model_version, r.runtime, r.code_version, m.recipe, coalesce(m.classes, '{}') as classes,
       coalesce(m.made_data, false) as model_made_data, m.preprocessing_hash, m.artifact_sha256,
       m.created_at as model_created_at
from cxr.runs r
left join cxr.model_versions m using (model_version)
where r.run_id = %(run_id)s
