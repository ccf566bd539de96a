alter table cxr.images add column reason text;
update cxr.images set reason = cxr.reason_text(failed_expectations, reasons) where reasons is not null;
-- The view goes with what it shows; `cxr migrate` makes it anew.
drop function cxr.reason_text(text[], text[]) cascade;
alter table cxr.images
    drop column reasons cascade,
    add check (state not in ('quarantined', 'failed') or reason is not null);
