-- The views go with what they show; `cxr migrate` makes them anew.
drop table cxr.shadow_predictions, cxr.shadows, cxr.triggers, cxr.drift cascade;
alter table cxr.promotions drop column decision_id cascade;
alter table cxr.model_versions drop column training_key cascade;
drop table cxr.decisions, cxr.retrainings, cxr.near_duplicates, cxr.splits cascade;
drop table cxr.labelled_objects, cxr.waiting_labels cascade;
drop function cxr.splits_are_for_ever();
delete from cxr.labels where superseded_at is not null;
drop index cxr.labels_current, cxr.labels_patient;
alter table cxr.labels
    drop column view cascade, drop column sex cascade, drop column age cascade, drop column site cascade, drop column superseded_at cascade,
    add constraint labels_content_sha256_source_key unique (content_sha256, source);
