select state, what, count(*) as images
from (
    select i.state, case
        when i.state = 'quarantined' then array_to_string(failed_expectations, ', ')
        when i.state = 'failed' then array_to_string(i.reasons, '; ')
        when r.state = 'running' then 'claimed by run ' || run_id
        else 'scored by the next run'
    end as what
    from cxr.images i
    left join cxr.runs r using (run_id)
    where i.state in ('pending', 'quarantined', 'failed')
) i
group by state, what
order by state, images desc, what
