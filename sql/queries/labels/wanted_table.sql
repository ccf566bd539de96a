-- The keys and hashes by which a sheet names its images.
create temporary table wanted (
    object_key text,
    sha256     text
) on commit drop
