-- Keeps the labels in the temporary table `waiting` until their class and image are known. Whatever a source says now,
-- in `waiting` or in `word`, replaces the labels of the same source that wait for the same image.
update cxr.waiting_labels w set resolved_at = now()
where w.bucket = %(bucket)s and w.resolved_at is null
  and exists (
      select from (
          select object_key, content_sha256, source from word
          union all
          select object_key, content_sha256, source from waiting
      ) s
      where s.source = w.source and (s.object_key = w.object_key or s.content_sha256 = w.content_sha256)
  )
  and not exists (
      select from waiting n
      where n.source = w.source and (n.class, n.patient_id, n.why) = (w.class, w.patient_id, w.why)
        and (n.object_key, n.content_sha256, n.view, n.sex, n.age, n.site) is not distinct from
            (w.object_key, w.content_sha256, w.view, w.sex, w.age, w.site)
  );

insert into cxr.waiting_labels (bucket, object_key, content_sha256, class, patient_id, source, view, sex, age, site, why,
                                received_at)
select distinct on (coalesce(object_key, ''), coalesce(content_sha256, ''), source)
       %(bucket)s, object_key, content_sha256, class, patient_id, source, view, sex, age, site, why, said_at
from waiting
order by coalesce(object_key, ''), coalesce(content_sha256, ''), source, said_at desc, place desc
on conflict do nothing
