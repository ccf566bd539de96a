-- Triggers for each row see no truncate.
create trigger splits_are_not_emptied before truncate on cxr.splits
    for each statement execute function cxr.splits_are_for_ever();

comment on column cxr.decisions.failures is 'Recipes that gave no challenger, and challengers that did not answer, with the reason.';
