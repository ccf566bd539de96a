-- The newest decision between a model version and the present champion, whichever of the two was champion at that time.
select d.outcome, d.winner, d.decided_at, d.sentence, d.champion_version = %(model_version)s as was_champion
from cxr.decisions d
cross join (select (select model_version from cxr.champion) as champion) c
where (%(model_version)s = any(d.challengers) and d.champion_version is not distinct from c.champion)
   or (d.champion_version = %(model_version)s and c.champion = any(d.challengers))
order by d.decision_id desc
limit 1
