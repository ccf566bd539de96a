create temporary table near_duplicate (
    content_sha256 text not null,
    other_sha256   text not null,
    similarity     real not null
) on commit drop
