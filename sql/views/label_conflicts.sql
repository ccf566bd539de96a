create or replace view analysis.label_conflicts as
select c.content_sha256, c.class as winning_class, c.source as winning_source,
       case when lower(c.source) = 'adjudication' then 'adjudication' else 'latest word' end as settled_by,
       jsonb_object_agg(l.source, l.class order by l.source) as classes_by_source, c.newest_at
from cxr.current_labels c
join cxr.labels l on l.content_sha256 = c.content_sha256 and l.superseded_at is null
where c.disputed
group by c.content_sha256, c.class, c.source, c.newest_at;
comment on view analysis.label_conflicts is
    'Images whose sources name different classes, what each of them says now, and which one counts.';
comment on column analysis.label_conflicts.winning_class is 'The class that the image has in training and tests.';
comment on column analysis.label_conflicts.winning_source is 'The source that names it.';
comment on column analysis.label_conflicts.settled_by is 'adjudication: it overrides all other labels; latest word: there is no adjudication, so the latest label counts.';
comment on column analysis.label_conflicts.classes_by_source is 'What each source says now, as {"source": "class"}.';
comment on column analysis.label_conflicts.newest_at is 'When the latest of these labels came in.';
