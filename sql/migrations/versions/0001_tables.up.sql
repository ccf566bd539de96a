-- The tables. Everything is in schema cxr, which analysts cannot enter; they read schema analysis (sql/views).

create schema if not exists cxr;
create schema if not exists analysis;

create table cxr.model_versions (
    model_version      text primary key,
    recipe             text        not null,
    artifact_key       text        not null,
    artifact_sha256    text        not null check (artifact_sha256 ~ '^[0-9a-f]{64}$'),
    classes            text[]      not null check (cardinality(classes) >= 2),
    preprocessing      jsonb       not null,
    preprocessing_hash text        not null,
    metrics            jsonb       not null,
    data_fingerprint   text        not null,
    code_version       text        not null,
    training           jsonb       not null,
    made_data          boolean     not null,
    created_at         timestamptz not null default now()
);
comment on table cxr.model_versions is 'One row per trained model; the artifact lies in the object store under artifact_key.';
comment on column cxr.model_versions.classes is 'The classes in the order of predictions.probabilities.';
comment on column cxr.model_versions.made_data is 'Trained on made data (phantoms): of no use on real radiographs.';

create table cxr.promotions (
    promotion_id     bigint generated always as identity primary key,
    model_version    text        not null references cxr.model_versions,
    previous_version text references cxr.model_versions,
    kind             text        not null check (kind in ('bootstrap', 'gate', 'manual', 'rollback')),
    reason           text        not null,
    promoted_by      text        not null default session_user,
    promoted_at      timestamptz not null default now(),
    check ((kind = 'bootstrap') = (previous_version is null))
);
create unique index promotions_one_bootstrap on cxr.promotions (kind) where kind = 'bootstrap';
comment on table cxr.promotions is 'Append-only: the newest row names the champion.';

create table cxr.runs (
    run_id             uuid primary key,
    flow               text        not null,
    flow_run_id        uuid,
    bucket             text        not null,
    night              date        not null,
    state              text        not null default 'running'
                       check (state in ('running', 'completed', 'held', 'failed', 'crashed')),
    model_version      text references cxr.model_versions,
    runtime            text,
    code_version       text        not null,
    settings           jsonb       not null default '{}',
    started_at         timestamptz not null default now(),
    finished_at        timestamptz,
    published_at       timestamptz,
    released_by        text,
    release_reason     text,
    resumed_by         uuid references cxr.runs,
    discovered         integer,
    scored             integer,
    quarantined        integer,
    failed             integer,
    duplicate          integer,
    skipped            integer,
    message            text,
    report_key         text,
    data_docs_key      text,
    -- The contract on counts: a run that cannot account for every object has not completed.
    check (state not in ('completed', 'held')
           or coalesce(discovered = scored + quarantined + failed + duplicate, false)),
    check (state <> 'completed' or published_at is not null)
);
create index runs_night on cxr.runs (night);
create index runs_unfinished on cxr.runs (bucket) where state = 'running';
comment on table cxr.runs is 'One row per execution of a flow. Predictions of a run are visible to analysts once published_at is set.';
comment on column cxr.runs.state is
    'running; completed; held (too many bad images: nothing published until released); failed (an error); crashed (stopped without a word, found by a later run).';
comment on column cxr.runs.resumed_by is 'The run that took over what this crashed run had left.';
comment on column cxr.runs.skipped is 'Listed objects that are no images by their suffix; not part of discovered.';

create table cxr.images (
    image_id            bigint generated always as identity primary key,
    bucket              text        not null,
    object_key          text        not null,
    etag                text        not null,
    size_bytes          bigint      not null,
    last_modified       timestamptz not null,
    made                boolean     not null,
    state               text        not null default 'pending'
                        check (state in ('pending', 'scored', 'quarantined', 'failed', 'duplicate')),
    failed_expectations text[]      not null default '{}',
    reason              text,
    duplicate_of        bigint references cxr.images,
    content_sha256      text,
    format              text,
    width               integer,
    height              integer,
    bit_depth           integer,
    channels            integer,
    mean                real,
    std                 real,
    contrast            real,
    attempts            integer     not null default 0,
    crashes             integer     not null default 0,
    begun               boolean     not null default false,
    run_id              uuid references cxr.runs,
    shard               integer,
    discovered_at       timestamptz not null default now(),
    decided_at          timestamptz,
    unique (bucket, object_key, etag),
    check (state not in ('quarantined', 'failed') or reason is not null),
    check ((state = 'duplicate') = (duplicate_of is not null)),
    check (state <> 'quarantined' or cardinality(failed_expectations) > 0)
) with (fillfactor = 30);
-- Each row is written anew once, when it is decided: there is room for the new version beside the old one, and no index
-- names what a verdict changes (state, content_sha256), in its condition either, so none needs a new entry for it (HOT).
create index images_run on cxr.images (run_id, shard);
create index images_unclaimed on cxr.images (bucket) where run_id is null;
create index images_tried on cxr.images (bucket) where attempts > 0;
comment on table cxr.images is 'One row per object version (bucket, key, etag) and the one state it ended in.';
comment on column cxr.images.state is
    'pending until its run decides; then scored, quarantined (failed expectations), failed (could not be fetched or scored) or duplicate.';
comment on column cxr.images.run_id is 'The run that decided, or that has claimed a pending image.';
comment on column cxr.images.attempts is 'How many runs ended with this image failed.';
comment on column cxr.images.crashes is 'How many runs died without a word while they were at work on it.';
comment on column cxr.images.begun is 'The run that has claimed it is at work on it.';

-- A unique constraint on a partitioned table must contain the partition key, so the promise "one prediction per
-- content and model version" is kept by this small table, written in the same transaction. It also tells which image
-- has a content that comes again.
create table cxr.prediction_keys (
    content_sha256 text   not null,
    model_version  text   not null,
    image_id       bigint not null,
    primary key (content_sha256, model_version)
);
comment on table cxr.prediction_keys is 'Keeps predictions unique by (content, model version) across partitions, and names the image that has the content.';

-- No foreign keys here: this is where a night's rows go, and each key would be looked up for each of them. The one
-- statement that inserts joins images, and its run and model version were read before; no role may delete any of them.
create table cxr.predictions (
    image_id           bigint      not null,
    content_sha256     text        not null,
    model_version      text        not null,
    predicted_class    text        not null,
    top_probability    real        not null check (top_probability between 0 and 1.0001),
    probabilities      real[]      not null,
    night              date        not null,
    run_id             uuid        not null,
    scored_at          timestamptz not null,
    preprocessing_hash text        not null,
    code_version       text        not null,
    runtime            text        not null,
    source_bucket      text        not null,
    source_key         text        not null,
    source_etag        text        not null,
    made               boolean     not null
) partition by range (scored_at);
create index predictions_content on cxr.predictions (content_sha256);
create index predictions_image on cxr.predictions (image_id);
-- The rows of a run and of a night lie together: block ranges find them, and cost nothing to write.
create index predictions_run on cxr.predictions using brin (run_id);
create index predictions_night on cxr.predictions using brin (night);
comment on table cxr.predictions is 'One row per image content and model version, by month of scored_at.';
comment on column cxr.predictions.probabilities is 'One probability per class, in the order of model_versions.classes.';

create table cxr.labels (
    label_id       bigint generated always as identity primary key,
    content_sha256 text        not null,
    class          text        not null,
    patient_id     text        not null,
    source         text        not null,
    labelled_at    timestamptz not null default now(),
    unique (content_sha256, source)
);
comment on table cxr.labels is 'Ground truth by image content, with its source. patient_id keeps a patient''s images in one split.';

-- Creating a partition takes the table's owner: the writer may do it through this function and no other way.
create function cxr.ensure_partitions(months_ahead integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    first_day date;
    name text;
    made integer := 0;
begin
    -- One at a time: two runs that start together would both try to create the same partition.
    perform pg_advisory_xact_lock(hashtextextended('cxr.ensure_partitions', 0));
    for step in 0..months_ahead loop
        first_day := (date_trunc('month', now() at time zone 'UTC') + make_interval(months => step))::date;
        name := 'predictions_' || to_char(first_day, 'YYYY_MM');
        if to_regclass('cxr.' || name) is null then
            execute format('create table cxr.%I partition of cxr.predictions for values from (%L) to (%L)', name,
                           first_day::timestamp at time zone 'UTC',
                           (first_day + interval '1 month')::timestamp at time zone 'UTC');
            made := made + 1;
        end if;
    end loop;
    return made;
end $$;
comment on function cxr.ensure_partitions is 'Creates the partitions of predictions for this month and the coming ones; returns how many were missing.';
