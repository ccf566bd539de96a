-- The newest decision about exactly these trainings against this champion, on the same images with the same labels.
-- The decision of a dry run does not count: it changed nothing and asked nobody. Nor does one that nobody answered in
-- time.
select d.outcome, d.decided_at, d.sentence
from cxr.decisions d
join cxr.retrainings r on r.retraining_id = d.retraining_id and not r.dry_run
where d.data_fingerprint = %(data_fingerprint)s
  and d.champion_version is not distinct from %(champion_version)s
  and (%(gate)s::jsonb is null or d.gate = %(gate)s::jsonb)
  and (d.outcome <> 'declined' or d.approved_by is not null)
  and (
      select array_agg(m.training_key order by m.training_key)
      from cxr.model_versions m
      where m.model_version = any(d.challengers)
  ) = (select array_agg(k order by k) from unnest(%(training_keys)s::text[]) as k)
order by d.decision_id desc
limit 1
