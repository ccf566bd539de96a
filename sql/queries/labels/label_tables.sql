-- The rows of a sheet: those that become labels now (`word`), and those whose class or image is unknown (`waiting`).
create temporary table word (
    place          integer     not null,
    object_key     text,
    content_sha256 text,
    class          text,
    patient_id     text,
    source         text,
    view           text,
    sex            text,
    age            real,
    site           text,
    said_at        timestamptz not null
) on commit drop;

create temporary table waiting (like word, why text not null) on commit drop
