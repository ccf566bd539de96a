-- Labels name objects; they are kept by content, so that they outlive a move or a copy of the object.
with found as (
    select i.content_sha256, i.image_id, s.line, s.class, s.patient_id
    from sheet s
    join cxr.images i on i.bucket = %(bucket)s and i.object_key = s.object_key and i.content_sha256 is not null
), written as (
    insert into cxr.labels (content_sha256, class, patient_id, source)
    select distinct on (content_sha256) content_sha256, class, patient_id, %(source)s
    from found
    order by content_sha256, image_id desc, line desc
    on conflict (content_sha256, source) do update
    set class = excluded.class, patient_id = excluded.patient_id, labelled_at = now()
    returning content_sha256
)
select (select count(*) from written), (select count(distinct line) from found)
