-- Writes the rows of a sheet (temporary table `word`) as labels. A source that repeats its label changes nothing. A
-- source that changes its label supersedes its own older one and nobody else's. Values that the new label leaves empty
-- are taken from the older one.

-- One sheet at a time: otherwise two sheets of one source would both find no current label.
select pg_advisory_xact_lock(hashtextextended('cxr.write_labels', 0));

create temporary table change on commit drop as
with latest as (
    select distinct on (content_sha256, source) * from word order by content_sha256, source, said_at desc, place desc
)
select n.content_sha256, n.class, n.patient_id, n.source, n.said_at, l.label_id,
       coalesce(n.view, l.view) as view, coalesce(n.sex, l.sex) as sex, coalesce(n.age, l.age) as age,
       coalesce(n.site, l.site) as site,
       case
           when l.label_id is null then 'new'
           when (l.class, l.patient_id) = (n.class, n.patient_id)
                and (l.view, l.sex, l.age, l.site) is not distinct from
                    (coalesce(n.view, l.view), coalesce(n.sex, l.sex), coalesce(n.age, l.age), coalesce(n.site, l.site))
               then 'same'
           when l.labelled_at > n.said_at then 'outdated'
           else 'changed'
       end as kind
from latest n
left join cxr.labels l on l.content_sha256 = n.content_sha256 and l.source = n.source and l.superseded_at is null;

update cxr.labels l set superseded_at = now()
from change c
where c.kind = 'changed' and l.label_id = c.label_id;

insert into cxr.labels (content_sha256, class, patient_id, source, labelled_at, view, sex, age, site)
select content_sha256, class, patient_id, source, said_at, view, sex, age, site
from change
where kind in ('new', 'changed');

select kind, count(*) as labels from change group by kind
