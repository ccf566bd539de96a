select 'class' as what, class as name, count(*) as images from cxr.current_labels group by class
union all
select 'source', source, count(*) from cxr.labels where superseded_at is null group by source
union all
select 'split', split, count(*) from cxr.splits join cxr.current_labels using (content_sha256) group by split
order by what, images desc, name
