-- What was found for each expectation that an image failed, in place of one text "contrast: ...; grey: ...".

-- Null where there is none, so that the rows of scored images neither grow nor are written anew.
alter table cxr.images add column reasons text[];
comment on column cxr.images.reasons is
    'Why it has no prediction, in words: what was found for each of failed_expectations, in their order; then what belongs to none of them, as of a failed image.';

-- A loop takes a quarter of the time of a query over unnest.
create function cxr.reason_text(failed_expectations text[], reasons text[]) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    joined text;
begin
    for place in 1..coalesce(cardinality(reasons), 0) loop
        if reasons[place] is not null then
            joined := coalesce(joined || '; ', '') || coalesce(failed_expectations[place] || ': ', '') || reasons[place];
        end if;
    end loop;
    return joined;
end $$;
comment on function cxr.reason_text is 'The reasons of an image as one text: "contrast: what was found; grey: what was found".';

-- A text is split where it holds each name exactly once, in their order, the first one at its beginning. Any other is
-- kept whole, behind a null for each expectation. So is that of a failed image, which has no expectations.
with old as (
    select image_id, failed_expectations, reason, '; ' || reason as text from cxr.images where reason is not null
), found as (
    select o.image_id, o.text, e.place, e.mark, position(e.mark in o.text) as start,
           lead(position(e.mark in o.text), 1, length(o.text) + 1) over (partition by o.image_id order by e.place) as next
    from old o
    cross join lateral unnest(o.failed_expectations) with ordinality as x (name, place)
    cross join lateral (select x.place, '; ' || x.name || ': ' as mark) e
), split as (
    select image_id, array_agg(substr(text, start + length(mark), greatest(next - start - length(mark), 0)) order by place) as words
    from found
    group by image_id
    having bool_and(
        (start = 1) = (place = 1) and start > 0 and start + length(mark) <= next
        and position(mark in substr(text, start + 1)) = 0
    )
)
update cxr.images i
set reasons = coalesce(s.words, array_fill(null::text, array[cardinality(o.failed_expectations)]) || o.reason)
from old o
left join split s using (image_id)
where i.image_id = o.image_id;

-- The constraint that asked for a reason goes with the column.
alter table cxr.images
    drop column reason,
    add constraint images_reasons check (state not in ('quarantined', 'failed') or coalesce(cardinality(reasons), 0) > 0);
