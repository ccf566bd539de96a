create temporary table noted (like cxr.labelled_objects including defaults) on commit drop;
alter table noted drop column stored_at
