create temporary table listing (
    object_key text not null,
    etag text not null,
    size_bytes bigint not null,
    last_modified timestamptz not null,
    made boolean not null
) on commit drop
