-- The newest decision about a model version against the champion of this moment.
select d.outcome, d.winner, d.decided_at, d.sentence
from cxr.decisions d
where %(model_version)s = any(d.challengers)
  and d.champion_version is not distinct from (select model_version from cxr.champion)
order by d.decision_id desc
limit 1
