create or replace view analysis.quarantine as
select i.image_id, i.bucket, i.object_key, i.etag, i.state, i.failed_expectations,
       cxr.reason_text(i.failed_expectations, i.reasons) as reason, i.format, i.width, i.height, i.bit_depth,
       i.channels, i.mean, i.std, i.contrast, i.size_bytes, i.last_modified, i.attempts,
       r.night, i.run_id, i.decided_at, i.made
from cxr.images i
left join cxr.runs r on r.run_id = i.run_id
where i.state in ('quarantined', 'failed');
comment on view analysis.quarantine is
    'Images without a prediction and why: quarantined ones with the expectations that they failed, failed ones with what went wrong.';
comment on column analysis.quarantine.failed_expectations is 'Names of the expectations that it failed, in the order of the checklist; ''contrast'' = any(failed_expectations) finds one.';
comment on column analysis.quarantine.reason is 'The same in words, with the measured values.';
