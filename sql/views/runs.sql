create or replace view analysis.runs as
select run_id, flow, night, state, started_at, finished_at, finished_at - started_at as duration, published_at,
       discovered, scored, quarantined, failed, duplicate, skipped, model_version, runtime, code_version, message,
       resumed_by, released_by, release_reason, report_key, data_docs_key, flow_run_id
from cxr.runs;
comment on view analysis.runs is 'Every run, with its counts: discovered = scored + quarantined + failed + duplicate.';
