-- Internal: all other views of predictions are built on this one.
create or replace view cxr.published_predictions as
select p.*, m.classes, m.made_data as model_made_data
from cxr.predictions p
join cxr.runs r on r.run_id = p.run_id and r.published_at is not null
join cxr.model_versions m on m.model_version = p.model_version;
comment on view cxr.published_predictions is 'Predictions of runs that were published.';
