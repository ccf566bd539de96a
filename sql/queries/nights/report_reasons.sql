-- Why images got no prediction. An image may fail several expectations: `images` counts it for each of them, `first`
-- for the first one only. A failed image has no expectations and is counted by its reason. If the reasons of an image are
-- kept as one text, the example is that text.
select i.state, coalesce(e.name, e.words) as name, count(*) as images,
       count(*) filter (where e.place = 1) as first,
       (array_agg(coalesce(e.words, cxr.reason_text(i.failed_expectations, i.reasons))
                  order by cardinality(i.failed_expectations), i.image_id))[1] as example
from cxr.images i
cross join lateral unnest(i.failed_expectations, i.reasons) with ordinality as e (name, words, place)
where i.run_id = any(%(run_ids)s::uuid[]) and i.state in ('quarantined', 'failed')
  and (i.state = 'failed' or e.name is not null)
group by 1, 2
order by i.state = 'failed', images desc, name
