create or replace view analysis.decisions as
select d.decision_id, d.decided_at, d.outcome, r.dry_run, d.sentence, d.champion_version, d.challengers, d.winner, d.failures,
       d.test_images, d.test_patients, d.approved_by, d.decided_by, d.gate, d.evidence, d.data_fingerprint,
       d.test_fingerprint, d.retraining_id, r.cause, r.report_key
from cxr.decisions d
join cxr.retrainings r using (retraining_id);
comment on view analysis.decisions is
    'Every decision of the gate: one row for each retraining that came to one, with the rules and all figures.';
comment on column analysis.decisions.dry_run is 'The retraining was a dry run: nothing could be promoted.';
comment on column analysis.decisions.report_key is 'Key of the comparison report in the bucket.';
