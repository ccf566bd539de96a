-- The pairs found by one search (temporary table `near_duplicate`). An image is no near-duplicate of itself.
insert into cxr.near_duplicates (content_sha256, other_sha256, similarity)
select content_sha256, other_sha256, max(similarity)
from near_duplicate
where content_sha256 <> other_sha256
group by content_sha256, other_sha256
on conflict do nothing
