"""The roles, by logging in as each: what they may do, and that they may do nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import psycopg2
import pytest

from infra import database
from tasks.registry import promotion, trial
from tasks.retraining import record
from tasks.scoring import shadow
from tests.support.databases import ANALYST, OWNER, WRITER
from tests.support.nights import MODEL, Nights, failed, quarantined, scored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    import sqlalchemy as sa

    from tests.support.databases import Database

REFUSED = psycopg2.errors.InsufficientPrivilege
TABLES = (
    "images", "runs", "predictions", "prediction_keys", "model_versions", "promotions", "labels", "decisions",
    "retrainings", "shadows", "shadow_predictions", "splits", "near_duplicates", "waiting_labels", "labelled_objects",
    "drift", "triggers",
)  # fmt: skip


@pytest.fixture(scope="module")
def filled(module_db: Database) -> Iterator[Database]:
    """A database after a night with images in each state, shared: the tests below only try what is refused."""
    pool: sa.Engine = database.engine(module_db.url())
    nights = Nights(module_db, pool)
    one, two, three, four = nights.listed("roles/1", "roles/2", "roles/3", "roles/4")
    night = nights.night(scored(one, "roles"), scored(two, "roles"), quarantined(three), failed(four))
    change_champions(nights, night, one)
    said = "insert into cxr.labels (content_sha256, class, patient_id, source) values ('c', %s, 'p', %s)"
    for source, label in (("dr-a", "NORMAL"), ("dr-b", "PNEUMONIA")):
        module_db.rows(said, label, source)
    module_db.rows(
        "insert into cxr.drift values (%s, %s, 'input', 'mean', 'ks', 0.4, 0.001, 0.25, true, 200, 200)",
        str(night), MODEL,
    )  # fmt: skip
    module_db.rows(
        "insert into cxr.waiting_labels (bucket, object_key, class, patient_id, source, why) "
        "values ('b', 'k', 'FLU', 'p1', 'dr-a', 'unknown class')"
    )
    yield module_db
    pool.dispose()


def change_champions(nights: Nights, night: UUID, image_id: int) -> None:
    """A champion, a decision that kept it, and a shadow's word on an image of that night."""
    nights.register("model-2")
    promotion.promote(nights.pool, MODEL, "the first one")
    retraining = uuid4()
    record.start(nights.pool, retraining, None, "b", "schedule", dry_run=False, code_version="1")
    ruling = promotion.Ruling(
        sentence="model-1 stays.", champion_version=MODEL, challengers=("model-2",), winner=None, gate={}, evidence={},
        data_fingerprint="d", test_fingerprint="t", test_images=9, test_patients=9,
    )  # fmt: skip
    promotion.record(nights.pool, retraining, ruling, outcome="kept")
    trial.choose(nights.pool, "model-2", "on trial")
    about = {"run_id": str(night), "model_version": "model-2", "preprocessing_hash": "p", "code_version": "1"}
    answer = np.array([0.1, 0.2, 0.7], np.float32)
    shadow.commit(nights.pool, about | {"runtime": "keras"}, [(image_id, "PNEUMONIA", answer)])


def test_the_analyst_reads_each_view(filled: Database) -> None:
    views = filled.rows("select table_name from information_schema.tables where table_schema = 'analysis'")
    assert len(views) >= 6
    for (view,) in views:
        assert filled.rows(f"select * from analysis.{view}", user=ANALYST), f"{view} is empty"


def test_the_analyst_may_use_the_functions_beside_the_views(filled: Database) -> None:
    wanted = "select analysis.probability_of(classes, probabilities, 'NORMAL') from analysis.latest_prediction"
    assert filled.rows(wanted, user=ANALYST)


def test_the_analyst_sees_nothing_but_the_views(filled: Database) -> None:
    seen = filled.rows(
        """select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
             and n.nspname <> 'analysis' and c.relkind in ('r', 'p', 'v', 'm', 'S')
             and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')""",
        user=ANALYST,
    )
    assert seen == []


@pytest.mark.parametrize(
    "statement",
    [
        *(f"select * from cxr.{table}" for table in (*TABLES, "champion", "published_predictions")),
        "select * from public.schema_revision",
        "select cxr.ensure_partitions(1)",
        "insert into cxr.labels (content_sha256, class, patient_id, source) values ('a', 'b', 'c', 'd')",
        "delete from analysis.runs",
        "update analysis.runs set message = ''",
        "create table analysis.mine (x integer)",
        "create table public.mine (x integer)",
        "create table cxr.mine (x integer)",
        "create or replace view analysis.runs as select 1 as one",
        "create schema mine",
        "drop view analysis.runs",
        "select * from pg_authid",
        "set role cxr_writer",
    ],
)
def test_the_analyst_may_do_nothing_else(filled: Database, statement: str) -> None:
    with pytest.raises(REFUSED):
        filled.rows(statement, user=ANALYST)


def test_the_writer_does_a_whole_night(db: Database, nights: Nights) -> None:
    """Nights works as the writer, who is what a flow logs in as."""
    assert nights.pool.url.username == WRITER
    one, two = nights.listed("a", "b")
    assert nights.night(scored(one, "x"), scored(two, "x"))
    assert db.value("select count(*) from analysis.latest_prediction") == 2


def test_the_writer_makes_partitions_through_the_function(filled: Database) -> None:
    assert filled.rows("select cxr.ensure_partitions(4)", user=WRITER)
    owner = filled.value("select tableowner from pg_tables where tablename like 'predictions\\_%%' limit 1")
    assert owner == OWNER


@pytest.mark.parametrize(
    "statement",
    [
        "alter table cxr.images add column mine text",
        "drop table cxr.images",
        "truncate cxr.predictions",
        "delete from cxr.predictions",
        "delete from cxr.images",
        "delete from cxr.prediction_keys",
        "update cxr.predictions set predicted_class = 'NORMAL'",
        "update cxr.promotions set reason = ''",
        "update cxr.decisions set sentence = ''",
        "delete from cxr.decisions",
        "update cxr.shadows set reason = ''",
        "update cxr.shadow_predictions set predicted_class = 'NORMAL'",
        "delete from cxr.shadow_predictions",
        "delete from cxr.promotions",
        "update cxr.model_versions set artifact_sha256 = repeat('b', 64)",
        "create table cxr.mine partition of cxr.predictions for values from ('2020-01-01') to ('2020-02-01')",
        "create table cxr.mine (x integer)",
        "create table public.mine (x integer)",
        "create or replace view analysis.runs as select 1 as one",
        "alter function cxr.ensure_partitions(integer) security invoker",
        "update public.schema_revision set version_num = '0'",
        "select * from pg_authid",
        "create role mine",
        f"set role {OWNER}",
    ],
)
def test_the_writer_changes_no_structure_and_rewrites_no_history(filled: Database, statement: str) -> None:
    with pytest.raises(REFUSED):
        filled.rows(statement, user=WRITER)


def test_the_function_that_makes_partitions_cannot_be_led_astray_by_the_search_path(filled: Database) -> None:
    filled.rows(
        """create temporary table pg_class (relname text);
           set search_path = pg_temp, cxr; select cxr.ensure_partitions(1)""",
        user=WRITER,
    )
    fixed = filled.value("select array_to_string(proconfig, ' ') from pg_proc where proname = 'ensure_partitions'")
    assert "search_path=pg_catalog, pg_temp" in str(fixed)
