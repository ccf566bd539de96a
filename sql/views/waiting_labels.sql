create or replace view analysis.waiting_labels as
select bucket, object_key, content_sha256, class as label, source, why, received_at
from cxr.waiting_labels
where resolved_at is null;
comment on view analysis.waiting_labels is
    'Labels that are not used yet, because their class is unknown or their image has not been seen. Each import and each retraining tries them again.';
comment on column analysis.waiting_labels.label is 'The class as it was written.';
comment on column analysis.waiting_labels.source is 'The source of the label.';
comment on column analysis.waiting_labels.why is 'unknown class: correct the spelling, or import with --new-class; no such image: wait until it has been scored.';
comment on column analysis.waiting_labels.received_at is 'When it came in.';
