create or replace view analysis.model_versions as
select m.model_version, m.recipe, m.classes, m.made_data, m.created_at,
       c.model_version is not null                               as champion,
       s.model_version is not null                               as shadow,
       (m.training ->> 'parameters')::bigint                     as parameters,
       (m.training ->> 'seconds')::double precision              as training_seconds,
       (m.training ->> 'epochs_run')::integer                    as epochs,
       case when m.metrics ->> 'split' = 'validation'
            then (m.metrics ->> 'accuracy')::double precision end as validation_accuracy,
       m.preprocessing_hash, m.data_fingerprint, m.code_version, m.artifact_sha256, m.artifact_key, m.metrics, m.training
from cxr.model_versions m
left join cxr.champion c using (model_version)
left join cxr.shadow s using (model_version);
comment on view analysis.model_versions is 'Every trained model. Its results on the test set are in analysis.decisions.';
comment on column analysis.model_versions.model_version is 'Its name: the recipe, the time of training and the first digits of its file''s sha256.';
comment on column analysis.model_versions.code_version is 'Version of the code that trained it.';
comment on column analysis.model_versions.data_fingerprint is 'Hash of the images and labels that it was trained on.';
comment on column analysis.model_versions.preprocessing_hash is 'Hash of the preprocessing that it scores with; equal hashes mean equal preprocessing.';
