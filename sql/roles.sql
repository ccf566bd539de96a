-- Two group roles that cannot log in. A login is granted one of them: grant cxr_analyst to alice.
-- Roles belong to the whole server, so another database may have created them already.
do $$
declare
    name text;
begin
    foreach name in array array['cxr_writer', 'cxr_analyst'] loop
        begin
            execute format('create role %I nologin', name);
        exception when duplicate_object or unique_violation then
            null;
        end;
    end loop;
end $$;

-- The writer runs the flows. It reads and writes rows, creates partitions through the function, and changes no
-- structure.
grant usage on schema cxr, analysis, public to cxr_writer;
grant select, insert, update on cxr.images, cxr.runs, cxr.labels to cxr_writer;
grant select, insert, update on cxr.waiting_labels, cxr.labelled_objects, cxr.retrainings, cxr.triggers to cxr_writer;
grant select, insert on cxr.model_versions, cxr.promotions, cxr.predictions, cxr.prediction_keys to cxr_writer;
grant select, insert on cxr.splits, cxr.decisions, cxr.drift, cxr.shadows, cxr.shadow_predictions to cxr_writer;
grant select, insert on cxr.near_duplicates to cxr_writer;
grant select on cxr.current_labels to cxr_writer;
grant select on cxr.champion, cxr.shadow, cxr.published_predictions, public.schema_revision to cxr_writer;
grant select on all tables in schema analysis to cxr_writer;
revoke execute on function cxr.ensure_partitions(integer) from public;
grant execute on function cxr.ensure_partitions(integer) to cxr_writer;

-- The analyst reads the views and nothing else.
grant usage on schema analysis to cxr_analyst;
grant select on all tables in schema analysis to cxr_analyst;
grant execute on function analysis.probability_of(text[], real[], text) to cxr_analyst;
