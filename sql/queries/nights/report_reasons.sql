-- Why images got no prediction. An image may fail several expectations: `images` counts it at each of them, `first`
-- at the first one only. A failed image has no expectation; its reason stands for itself.
select i.state, coalesce(e.name, i.reason) as name, count(*) as images,
       count(*) filter (where coalesce(e.place, 1) = 1) as first,
       (array_agg(i.reason order by cardinality(i.failed_expectations), i.image_id))[1] as example,
       (array_agg(array_to_string(i.failed_expectations, ' ')
                  order by cardinality(i.failed_expectations), i.image_id))[1] as example_failed
from cxr.images i
left join lateral unnest(i.failed_expectations) with ordinality as e (name, place) on i.state = 'quarantined'
where i.run_id = any(%(run_ids)s::uuid[]) and i.state in ('quarantined', 'failed')
group by 1, 2
order by i.state = 'failed', images desc, name
