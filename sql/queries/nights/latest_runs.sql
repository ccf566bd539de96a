-- A run at work holds its bucket's lock, which ends with its process. Postgres shows every login which locks are held.
select night, to_char(started_at, 'YYYY-MM-DD HH24:MI') as started,
       case when resumed_by is not null then state || ', taken over' else state end as state,
       run_id, message,
       exists (
           select from pg_locks l
           where l.locktype = 'advisory' and l.granted and l.objsubid = 1
             and l.database = (select d.oid from pg_database d where d.datname = current_database())
             and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('cxr.scoring:' || bucket, 0)
       ) as alive
from cxr.runs
order by started_at desc
limit %(runs)s
