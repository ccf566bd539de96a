select state, what, count(*)
from (
    select state, case state
        when 'pending' then 'scored by the next run'
        when 'quarantined' then array_to_string(failed_expectations, ', ')
        else reason
    end as what
    from cxr.images
    where state in ('pending', 'quarantined', 'failed')
) i
group by state, what
order by state, count(*) desc, what
