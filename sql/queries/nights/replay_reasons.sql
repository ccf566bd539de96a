-- Why images are not scored: the expectations that they failed, else the reasons in words, each with its number of
-- images and whether it is the reason asked for.
select name, count(*) as images,
       bool_or(%(reason)s::text = name
               or position(lower(%(reason)s) in lower(cxr.reason_text(failed_expectations, reasons))) > 0) as asked_for
from cxr.images
cross join unnest(case when failed_expectations = '{}' then reasons else failed_expectations end) as name
where bucket = %(bucket)s and state = any(%(states)s)
group by name
order by images desc, name
