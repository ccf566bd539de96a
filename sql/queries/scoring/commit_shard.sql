-- Commits one shard in one transaction. The temporary table `result` holds what the run found out about its images.

-- One commit at a time: otherwise two buckets that bring in the same content at once would both take it for new.
select pg_advisory_xact_lock(hashtextextended('cxr.commit_shard', 0));

-- A run that another run has taken over may write nothing. The lock on its row keeps this run from being taken over
-- now.
delete from result
where not exists (
    select from (select from cxr.runs where run_id = %(run_id)s and state = 'running' for share) held
);

-- The same content is scored once. The first image with it is scored, the others become its duplicates.
update result r
set state = 'duplicate', duplicate_of = f.image_id
from (
    select c.image_id as candidate, coalesce(k.image_id, min(c.image_id) over (partition by c.content_sha256)) as image_id
    from result c
    left join lateral (
        select p.image_id from cxr.prediction_keys p
        where p.content_sha256 = c.content_sha256
        order by p.image_id limit 1
    ) k on true
    where c.state = 'scored'
) f
where f.candidate = r.image_id and f.image_id <> r.image_id;

-- Write only what this run has not decided yet. A commit that is repeated because its answer was lost finds nothing to
-- do.
with decided as (
    update cxr.images i
    set state = r.state, failed_expectations = r.failed_expectations, reasons = r.reasons, duplicate_of = r.duplicate_of,
        content_sha256 = r.content_sha256, made = i.made or r.made, format = r.format, width = r.width,
        height = r.height, bit_depth = r.bit_depth, channels = r.channels, mean = r.mean, std = r.std,
        contrast = r.contrast, decided_at = now(), attempts = i.attempts + (r.state = 'failed')::integer, begun = false
    from result r
    where r.image_id = i.image_id and i.run_id = %(run_id)s and i.state = 'pending'
    returning i.image_id, i.state, i.content_sha256, i.bucket, i.object_key, i.etag, i.made,
              r.predicted_class, r.top_probability, r.probabilities
), fresh as (
    insert into cxr.prediction_keys (content_sha256, model_version, image_id)
    select content_sha256, %(model_version)s, image_id from decided where state = 'scored'
    on conflict do nothing
    returning image_id
), predicted as (
    insert into cxr.predictions (
        image_id, content_sha256, model_version, predicted_class, top_probability, probabilities, night, run_id,
        scored_at, preprocessing_hash, code_version, runtime, source_bucket, source_key, source_etag, made
    )
    select image_id, content_sha256, %(model_version)s, predicted_class, top_probability, probabilities,
           %(night)s, %(run_id)s, now(), %(preprocessing_hash)s, %(code_version)s, %(runtime)s,
           bucket, object_key, etag, made
    from decided
    join fresh using (image_id)
)
select state, count(*) as images from decided group by state
