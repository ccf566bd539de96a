drop trigger splits_are_not_emptied on cxr.splits;
comment on column cxr.decisions.failures is 'Recipes that gave no challenger, and why.';
