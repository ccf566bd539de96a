-- What retraining remembers: labels with their history, splits for ever, decisions of the gate, drift and triggers, shadows.

-- Labels: a source that changes its mind supersedes its older row; nothing is overwritten.
alter table cxr.labels
    drop constraint labels_content_sha256_source_key,
    add column view          text,
    add column sex           text check (sex in ('F', 'M')),
    add column age           real check (age between 0 and 130),
    add column site          text,
    add column superseded_at timestamptz;
create unique index labels_current on cxr.labels (content_sha256, source) where superseded_at is null;
create index labels_patient on cxr.labels (patient_id);
comment on table cxr.labels is
    'Ground truth by image content, one row for each word that a source ever said; the current ones have no superseded_at. patient_id keeps a patient''s images in one split.';

create table cxr.waiting_labels (
    waiting_id     bigint generated always as identity primary key,
    bucket         text        not null,
    object_key     text,
    content_sha256 text,
    class          text        not null,
    patient_id     text        not null,
    source         text        not null,
    view           text,
    sex            text,
    age            real,
    site           text,
    why            text        not null check (why in ('unknown class', 'no such image')),
    received_at    timestamptz not null default now(),
    resolved_at    timestamptz,
    check (object_key is not null or content_sha256 is not null)
);
create unique index waiting_labels_open on cxr.waiting_labels
    (bucket, coalesce(object_key, ''), coalesce(content_sha256, ''), source) where resolved_at is null;
comment on table cxr.waiting_labels is 'Labels that could not be attached yet: of an unknown class, or of an image that has not been seen. They are tried again.';

create table cxr.labelled_objects (
    content_sha256 text        not null,
    bucket         text        not null,
    object_key     text        not null,
    etag           text        not null,
    size_bytes     bigint      not null,
    made           boolean     not null,
    format         text,
    width          integer,
    height         integer,
    bit_depth      integer,
    channels       integer,
    stored_at      timestamptz not null default now(),
    primary key (content_sha256, bucket)
);
comment on table cxr.labelled_objects is 'Where labelled images lie that no night has scored: those that came in together with their labels.';

create table cxr.splits (
    content_sha256 text primary key,
    patient_id     text        not null,
    split          text        not null check (split in ('train', 'validation', 'test')),
    assigned_at    timestamptz not null default now()
);
create index splits_patient on cxr.splits (patient_id);
comment on table cxr.splits is 'The split of each labelled image, assigned once. Never changed: what was in test stays there, whatever its labels or the shares become.';
create function cxr.splits_are_for_ever() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'the split of an image is assigned once and for ever' using errcode = 'restrict_violation';
end $$;
comment on function cxr.splits_are_for_ever is 'Refuses to change or remove the split of an image, whoever asks.';
create trigger splits_are_for_ever before update or delete on cxr.splits
    for each row execute function cxr.splits_are_for_ever();

create table cxr.near_duplicates (
    content_sha256 text        not null,
    other_sha256   text        not null,
    similarity     real        not null,
    found_at       timestamptz not null default now(),
    primary key (content_sha256, other_sha256),
    check (content_sha256 < other_sha256)
);
comment on table cxr.near_duplicates is 'Two files that show the same picture and fell into different splits: neither trains while the other one tests.';

create table cxr.retrainings (
    retraining_id    uuid primary key,
    flow_run_id      uuid,
    bucket           text        not null,
    cause            text        not null check (cause in ('schedule', 'by hand', 'new labels', 'drift')),
    dry_run          boolean     not null,
    state            text        not null default 'running' check (state in ('running', 'completed', 'failed', 'crashed')),
    code_version     text        not null,
    labels           bigint,
    data_fingerprint text,
    test_fingerprint text,
    started_at       timestamptz not null default now(),
    finished_at      timestamptz,
    message          text,
    report_key       text
);
create index retrainings_unfinished on cxr.retrainings (bucket) where state = 'running';
comment on table cxr.retrainings is 'One row per execution of retrain_and_compare.';
comment on column cxr.retrainings.labels is 'Images with a current label when it began: new labels are counted from here.';

create table cxr.decisions (
    decision_id      bigint generated always as identity primary key,
    retraining_id    uuid        not null unique references cxr.retrainings,
    outcome          text        not null check (outcome in ('promoted', 'would promote', 'kept', 'declined')),
    sentence         text        not null,
    champion_version text references cxr.model_versions,
    challengers      text[]      not null,
    winner           text references cxr.model_versions,
    gate             jsonb       not null,
    evidence         jsonb       not null,
    failures         jsonb       not null default '{}',
    data_fingerprint text        not null,
    test_fingerprint text        not null,
    test_images      integer     not null,
    test_patients    integer     not null,
    approved_by      text,
    decided_by       text        not null default session_user,
    decided_at       timestamptz not null default now(),
    check ((outcome = 'kept') = (winner is null))
);
comment on table cxr.decisions is 'Append-only: what the gate decided, with the rules, all figures and the models that it was about.';
comment on column cxr.decisions.champion_version is 'The champion that the challengers were compared with; null: there was none.';
comment on column cxr.decisions.evidence is 'All figures with their intervals, comparisons and checks, as the report shows them.';
comment on column cxr.decisions.failures is 'Recipes that gave no challenger, and why.';

alter table cxr.promotions add column decision_id bigint references cxr.decisions;
create unique index promotions_one_per_decision on cxr.promotions (decision_id);
alter table cxr.model_versions add column training_key text;
create unique index model_versions_training on cxr.model_versions (training_key);
comment on column cxr.model_versions.training_key is 'Hash of data, recipe and seed: the same training is not done twice.';

create table cxr.drift (
    run_id           uuid             not null references cxr.runs,
    model_version    text             not null references cxr.model_versions,
    kind             text             not null check (kind in ('input', 'prediction')),
    measure          text             not null,
    statistic        text             not null,
    value            double precision not null,
    p_value          double precision,
    threshold        double precision not null,
    drifted          boolean          not null,
    reference_images integer          not null,
    current_images   integer          not null,
    measured_at      timestamptz      not null default now(),
    primary key (run_id, measure)
);
comment on table cxr.drift is 'Each night''s images and predictions beside those of the champion''s reference window.';

create table cxr.triggers (
    trigger_id    bigint generated always as identity primary key,
    bucket        text        not null,
    kind          text        not null check (kind in ('new labels', 'drift')),
    run_id        uuid references cxr.runs,
    model_version text references cxr.model_versions,
    detail        text        not null,
    labels        bigint,
    fired_at      timestamptz not null default now(),
    flow_run_id   uuid,
    retraining_id uuid references cxr.retrainings
);
create index triggers_open on cxr.triggers (bucket) where retraining_id is null;
comment on table cxr.triggers is 'Why a retraining was asked for outside its schedule; retraining_id is the one that took it up.';

create table cxr.shadows (
    shadow_id     bigint generated always as identity primary key,
    model_version text references cxr.model_versions,
    reason        text        not null,
    set_by        text        not null default session_user,
    set_at        timestamptz not null default now()
);
comment on table cxr.shadows is 'Append-only: the newest row names the model that scores beside the champion; null ends that.';

create table cxr.shadow_predictions (
    content_sha256     text        not null,
    model_version      text        not null references cxr.model_versions,
    image_id           bigint      not null,
    predicted_class    text        not null,
    top_probability    real        not null check (top_probability between 0 and 1.0001),
    probabilities      real[]      not null,
    night              date        not null,
    run_id             uuid        not null,
    scored_at          timestamptz not null default now(),
    preprocessing_hash text        not null,
    code_version       text        not null,
    runtime            text        not null,
    made               boolean     not null,
    primary key (content_sha256, model_version)
);
comment on table cxr.shadow_predictions is 'What the shadow said of the images that the champion scored. A table of its own: no view on predictions can show it by mistake.';
