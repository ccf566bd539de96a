create or replace view analysis.drift as
select d.run_id, r.bucket, r.night, d.kind, d.measure, d.statistic, d.value, d.threshold, d.p_value, d.drifted,
       d.reference_images, d.current_images, d.model_version, d.measured_at
from cxr.drift d
join cxr.runs r using (run_id);
comment on view analysis.drift is
    'How far each night''s images and predictions were from the champion''s first ones: one row per run and measure, once there are enough images.';
comment on column analysis.drift.run_id is 'The run after which it was measured; its Prefect flow run has the same id.';
comment on column analysis.drift.kind is 'input: a property of the images; prediction: what the model predicts for them.';
comment on column analysis.drift.measure is 'What was compared: a column of cxr.images or of the predictions.';
comment on column analysis.drift.statistic is 'The distance: Kolmogorov-Smirnov for numbers, Jensen-Shannon (base 2) for categories.';
comment on column analysis.drift.value is 'The distance between the two windows, from 0 (equal) to 1 (nothing in common).';
comment on column analysis.drift.threshold is 'The smallest distance that counted as drift (CXR_DRIFT_THRESHOLD of that night).';
comment on column analysis.drift.p_value is 'Probability of such a distance if nothing has changed, times the number of measures (Bonferroni).';
comment on column analysis.drift.drifted is 'The distance reached the threshold, and p_value was below 0.01.';
comment on column analysis.drift.reference_images is 'Images in the reference window: the first ones that the champion scored since its promotion.';
comment on column analysis.drift.current_images is 'Images in the current window: the newest ones that are not in the reference.';
comment on column analysis.drift.model_version is 'The champion, which scored both windows.';
comment on column analysis.drift.measured_at is 'When it was measured, at the end of the run.';
