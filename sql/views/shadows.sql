create or replace view analysis.shadows as
select shadow_id, model_version, reason, set_by, set_at, ended_at, end_reason
from (
    select *, lead(set_at) over word as ended_at, lead(reason) over word as end_reason
    from cxr.shadows
    window word as (order by shadow_id)
) words
where model_version is not null;
comment on view analysis.shadows is
    'Every trial of a model version beside the champion: who started it, why, and how long it lasted. It is also over once the model version has become champion.';
comment on column analysis.shadows.shadow_id is 'Number of the trial; the highest is the newest.';
comment on column analysis.shadows.model_version is 'The model version on trial.';
comment on column analysis.shadows.reason is 'Why it was put on trial, in the words of the person who did it.';
comment on column analysis.shadows.set_by is 'The database user who did it and, in brackets, the person.';
comment on column analysis.shadows.set_at is 'When it was put on trial; it scores from the next night on.';
comment on column analysis.shadows.ended_at is 'When the trial was ended, or another model version was put on trial instead; null: neither has happened.';
comment on column analysis.shadows.end_reason is 'Why, in the words of that person.';
