select 'class', class, count(*) from cxr.current_labels group by class
union all
select 'source', source, count(*) from cxr.labels where superseded_at is null group by source
union all
select 'split', split, count(*) from cxr.splits join cxr.current_labels using (content_sha256) group by split
order by 1, 3 desc, 2
