"""The schema: up, down and up again; twice and at once; and every part of it explained."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import psycopg2
import pytest
from alembic import command

from infra import database
from sql import library, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa
    from alembic.config import Config

    from tests.support.databases import Database

SHAPE = """
    select c.table_schema, c.table_name, c.column_name, c.data_type, c.is_nullable, c.column_default
    from information_schema.columns c where c.table_schema in ('cxr', 'analysis')
    union all
    select n.nspname, r.relname, x.conname, pg_get_constraintdef(x.oid), '', ''
    from pg_constraint x join pg_class r on r.oid = x.conrelid join pg_namespace n on n.oid = r.relnamespace
    where n.nspname = 'cxr'
    union all
    select schemaname, tablename, indexname, indexdef, '', '' from pg_indexes where schemaname = 'cxr'
    union all
    select n.nspname, r.relname, '', array_to_string(r.relacl, ' '), '', ''
    from pg_class r join pg_namespace n on n.oid = r.relnamespace where n.nspname in ('cxr', 'analysis')
    order by 1, 2, 3, 4
"""


@pytest.fixture
def owner(empty_db: Database) -> Iterator[sa.Engine]:
    pool = database.engine(empty_db.owner)
    yield pool
    pool.dispose()


def alembic(pool: sa.Engine, step: Callable[[Config, str], None], revision: str) -> None:
    """Change the tables alone: views are those of the newest revision."""
    config = schema._config()  # noqa: SLF001 - there is no command to go down, on purpose
    with pool.begin() as connection:
        config.attributes["connection"] = connection
        step(config, revision)


def migrate(pool: sa.Engine) -> str | None:
    with pool.begin() as connection:
        return schema.migrate(connection)


def test_migrations_go_up_down_and_up_again_to_the_same_schema(empty_db: Database, owner: sa.Engine) -> None:
    with owner.connect() as connection:
        assert schema.current(connection) is None
    assert migrate(owner) == schema.head()
    first = empty_db.rows(SHAPE)
    alembic(owner, command.downgrade, "base")
    assert empty_db.rows("select nspname from pg_namespace where nspname in ('cxr', 'analysis')") == []
    assert migrate(owner) == schema.head()
    assert empty_db.rows(SHAPE) == first


def test_migrating_twice_changes_nothing(empty_db: Database, owner: sa.Engine) -> None:
    migrate(owner)
    first = empty_db.rows(SHAPE)
    assert migrate(owner) == schema.head()
    assert empty_db.rows(SHAPE) == first


def test_migrating_keeps_the_rows(empty_db: Database, owner: sa.Engine) -> None:
    migrate(owner)
    empty_db.rows("insert into cxr.labels (content_sha256, class, patient_id, source) values ('a', 'NORMAL', 'p', 's')")
    migrate(owner)
    assert empty_db.value("select count(*) from cxr.labels") == 1


def test_two_migrations_at_once_do_not_clash(empty_db: Database, owner: sa.Engine) -> None:
    with ThreadPoolExecutor(3) as threads:
        revisions = list(threads.map(lambda _: migrate(owner), range(3)))
    assert revisions == [schema.head()] * 3
    assert empty_db.value("select count(*) from public.schema_revision") == 1


def test_a_migration_that_breaks_off_leaves_nothing(empty_db: Database, owner: sa.Engine) -> None:
    connection = owner.connect()
    connection.begin()
    assert schema.migrate(connection) == schema.head()
    connection.invalidate()  # as if the process had died before it could commit
    connection.close()
    assert empty_db.rows("select nspname from pg_namespace where nspname in ('cxr', 'analysis')") == []
    assert migrate(owner) == schema.head()


def test_a_newer_database_is_told_apart_from_this_code(empty_db: Database, owner: sa.Engine) -> None:
    migrate(owner)
    empty_db.rows("update public.schema_revision set version_num = '9999'")
    with owner.connect() as connection:
        assert schema.current(connection) == "9999" != schema.head()


def test_every_table_view_and_function_says_what_it_is(db: Database) -> None:
    silent = db.rows(
        """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where n.nspname in ('cxr', 'analysis') and c.relkind in ('r', 'p', 'v') and not c.relispartition
             and obj_description(c.oid, 'pg_class') is null
           union all
           select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
           where n.nspname in ('cxr', 'analysis') and obj_description(p.oid, 'pg_proc') is null
           union all
           select nspname from pg_namespace where nspname in ('cxr', 'analysis')
             and obj_description(oid, 'pg_namespace') is null"""
    )
    assert silent == []


def test_every_column_of_the_analysts_views_says_what_it_holds(db: Database) -> None:
    silent = db.rows(
        """select c.relname || '.' || a.attname
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
           where n.nspname = 'analysis' and c.relkind = 'v' and col_description(c.oid, a.attnum) is null
           order by 1"""
    )
    assert silent == []


def test_every_view_file_is_made(db: Database) -> None:
    made = {
        row[0] for row in db.rows("select table_name from information_schema.views where table_schema = 'analysis'")
    }
    elsewhere = {"functions", "champion", "published", "current_labels", "glossary"}
    assert made == {name for name in library.VIEWS if name not in elsewhere}


RUN = """insert into cxr.runs (run_id, flow, bucket, night, state, code_version, published_at,
                               discovered, scored, quarantined, failed, duplicate)
         values (gen_random_uuid(), 'nightly_scoring', 'b', '2026-05-07', %s, '1', %s, %s, %s, %s, %s, %s)"""


@pytest.mark.parametrize("state", ["completed", "held"])
@pytest.mark.parametrize("counts", [(5, 1, 1, 1, 1), (3, 1, 1, 1, 1), (None,) * 5, (4, 1, 1, 1, None)])
def test_a_run_whose_counts_do_not_add_up_cannot_complete(
    module_db: Database, state: str, counts: tuple[int | None, ...]
) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        module_db.rows(RUN, state, "2026-05-08", *counts)


def test_a_run_whose_counts_add_up_completes_once_it_is_published(db: Database) -> None:
    db.rows(RUN, "completed", "2026-05-08", 4, 1, 1, 1, 1)
    db.rows(RUN, "completed", "2026-05-08", 0, 0, 0, 0, 0)
    db.rows(RUN, "failed", None, 5, 1, 1, 1, 1)
    with pytest.raises(psycopg2.errors.CheckViolation):
        db.rows(RUN, "completed", None, 4, 1, 1, 1, 1)


IMAGE = """insert into cxr.images (bucket, object_key, etag, size_bytes, last_modified, made, {})
           values ('b', gen_random_uuid()::text, 'e', 1, now(), false, {})"""


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ("state", "'quarantined'"),
        ("state, reasons", "'quarantined', '{too low}'"),
        ("state, failed_expectations", "'quarantined', '{contrast}'"),
        ("state, failed_expectations, reasons", "'quarantined', '{contrast}', '{}'"),
        ("state", "'failed'"),
        ("state", "'duplicate'"),
        ("state, duplicate_of", "'scored', 1"),
        ("state", "'lost'"),
    ],
)
def test_no_image_ends_in_a_state_without_its_reason(module_db: Database, columns: str, values: str) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        module_db.rows(IMAGE.format(columns, values))


CONTRAST = "the grey values span 0.04 of the range; at least 0.10 is expected"
GREY = "the colour channels differ by 0.30 of the range; at most 0.08 is expected"
JOINED: list[tuple[str, list[str], str | None, list[str | None] | None]] = [
    ("quarantined", ["contrast"], f"contrast: {CONTRAST}", [CONTRAST]),
    ("quarantined", ["contrast", "grey"], f"contrast: {CONTRAST}; grey: {GREY}", [CONTRAST, GREY]),
    ("quarantined", ["bit-depth", "grey"], "bit-depth: grey: 4 bit(s); grey: ", ["grey: 4 bit(s)", ""]),
    ("quarantined", ["a.c", "%"], "a.c: one; %: two; abc: three", ["one", "two; abc: three"]),
    ("failed", [], "the object was deleted: gone; it was listed", ["the object was deleted: gone; it was listed"]),
    ("scored", [], None, None),
    ("pending", [], None, None),
    # Not to be split with certainty: a name twice, in another order, missing, or not at the beginning.
    *(
        ("quarantined", failed, text, [*[None] * len(failed), text])
        for failed, text in (
            (["grey"], "grey: it is not; grey: it is"),
            (["contrast", "grey"], "contrast: one; grey: two; grey: three"),
            (["grey", "contrast"], "contrast: one; grey: two"),
            (["contrast", "grey"], "contrast: one"),
            (["grey"], "too colourful; grey: two"),
            (["grey", "grey"], "grey: one"),
            (["grey"], "by hand"),
        )
    ),
]
"""Images of revision 0003, with one text for all reasons, and the reasons that become of it."""


def test_reasons_that_an_older_version_wrote_are_split_where_that_is_safe_else_kept_whole_and_go_back(
    empty_db: Database, owner: sa.Engine
) -> None:
    alembic(owner, command.upgrade, "0003")
    for state, failed, reason, _ in JOINED:
        empty_db.rows(IMAGE.format("state, failed_expectations, reason", "%s, %s, %s"), state, failed, reason)
    old = "select image_id, state, failed_expectations, reason from cxr.images order by image_id"
    before = empty_db.rows(old)
    row_versions = "select xmin::text from cxr.images where state in ('scored', 'pending')"
    untouched = empty_db.rows(row_versions)
    assert migrate(owner) == schema.head()
    assert [row[0] for row in empty_db.rows("select reasons from cxr.images order by image_id")] == [
        reasons for *_, reasons in JOINED
    ]
    assert empty_db.rows(row_versions) == untouched, "scored rows are not written anew"
    seen = "select image_id, state, failed_expectations, reason from analysis.quarantine order by image_id"
    assert empty_db.rows(seen) == [row for row in before if row[1] in ("quarantined", "failed")]
    alembic(owner, command.downgrade, "0003")
    assert empty_db.rows(old) == before
    with pytest.raises(psycopg2.errors.CheckViolation):
        empty_db.rows(IMAGE.format("state", "'failed'"))
    assert migrate(owner) == schema.head()
    assert empty_db.rows(seen) == [row for row in before if row[1] in ("quarantined", "failed")]


def test_partitions_are_made_once_and_cover_whole_months_without_a_gap(db: Database) -> None:
    assert db.value("select cxr.ensure_partitions(14)") == 15
    assert db.value("select cxr.ensure_partitions(14)") == 0
    assert db.value("select cxr.ensure_partitions(15)") == 1
    bounds = db.rows(
        """select (regexp_match(b, $$FROM \\('([^']+)'\\)$$))[1]::timestamptz at time zone 'UTC',
                  (regexp_match(b, $$TO \\('([^']+)'\\)$$))[1]::timestamptz at time zone 'UTC'
           from (select pg_get_expr(c.relpartbound, c.oid) as b
                 from pg_inherits h join pg_class c on c.oid = h.inhrelid
                 where h.inhparent = 'cxr.predictions'::regclass) p order by 1"""
    )
    assert len(bounds) == 16
    assert all((start.day, start.hour, start.minute) == (1, 0, 0) for start, _ in bounds)
    assert all(end == following for (_, end), (following, _) in pairwise(bounds))
    now = db.value("select now() at time zone 'UTC'")
    assert bounds[0][0] <= now < bounds[0][1]


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles", "Asia/Kolkata"])
def test_months_begin_in_utc_wherever_the_session_is(db: Database, zone: str) -> None:
    made = db.rows(f"set timezone to '{zone}'; set datestyle to 'SQL, DMY'; select cxr.ensure_partitions(13)")
    assert made == [(14,)]
    assert db.value("select cxr.ensure_partitions(13)") == 0
    starts = db.rows("select pg_get_expr(relpartbound, oid) from pg_class where relispartition and relkind = 'r'")
    assert len(starts) == 14
    assert all("-01 00:00:00+00') TO" in bound for (bound,) in starts)


def test_several_runs_that_start_together_make_each_partition_once(db: Database) -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: db.value("select cxr.ensure_partitions(5)"), range(4)))
    assert sorted(made) == [0, 0, 0, 6]
