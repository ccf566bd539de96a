-- As in latest_runs. All retrainings share one lock, since there is one champion.
select to_char(started_at, 'YYYY-MM-DD HH24:MI') as started, state, cause, dry_run, retraining_id, message,
       exists (
           select from pg_locks l
           where l.locktype = 'advisory' and l.granted and l.objsubid = 1
             and l.database = (select d.oid from pg_database d where d.datname = current_database())
             and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('cxr.retraining', 0)
       ) and state = 'running' as alive
from cxr.retrainings
order by started_at desc
limit %(retrainings)s
