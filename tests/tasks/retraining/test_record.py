"""Retrainings: each has one row, dead ones are found, and open triggers are taken up once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from tasks.retraining import record
from tasks.retraining.record import RetrainingError, Started

if TYPE_CHECKING:
    import sqlalchemy as sa

    from tests.support.databases import Database


def begin(pool: sa.Engine, one: UUID, bucket: str = "b", *, dry_run: bool = False) -> Started:
    return record.start(pool, one, one, bucket, "by hand", dry_run, "1.0")


def trigger(db: Database, detail: str, bucket: str = "b") -> None:
    db.rows("insert into cxr.triggers (bucket, kind, detail) values (%s, 'new labels', %s)", bucket, detail)


def states(db: Database) -> dict[str, str]:
    return dict(db.rows("select retraining_id::text, state from cxr.retrainings"))


def test_a_retraining_is_recorded_from_its_start_to_its_end(db: Database, pool: sa.Engine) -> None:
    one = uuid4()
    assert begin(pool, one) == Started((), ())
    record.describe(pool, one, labels=412, data_fingerprint="d", test_fingerprint="t")
    record.report(pool, one, "reports/r.html")
    record.finish(pool, one, "completed", "there was nothing to compare")
    about = "state, cause, dry_run, labels, data_fingerprint, test_fingerprint, message, report_key, flow_run_id::text"
    assert db.rows(f"select {about}, finished_at >= started_at from cxr.retrainings") == [
        ("completed", "by hand", False, 412, "d", "t", "there was nothing to compare", "reports/r.html", str(one), True)
    ]
    record.finish(pool, one, "completed", "there was nothing to compare")
    assert db.value("select report_key from cxr.retrainings") == "reports/r.html", "a repeat takes nothing away"
    with pytest.raises(RetrainingError, match="not at work any more"):
        record.finish(pool, one, "failed", "the artifacts could not be shown")


def test_one_that_died_unnoticed_is_found_by_the_next_one_of_any_bucket(db: Database, pool: sa.Engine) -> None:
    dead, following = uuid4(), uuid4()
    begin(pool, dead, "other")
    assert [str(one) for one in begin(pool, following).dead] == [str(dead)]
    assert states(db) == {str(dead): "crashed", str(following): "running"}
    with pytest.raises(RetrainingError, match="found dead"):
        record.finish(pool, dead, "completed", "it was only slow")


def test_a_flow_run_that_is_tried_again_goes_on_with_its_row_unless_it_has_decided(
    db: Database, pool: sa.Engine
) -> None:
    one = uuid4()
    begin(pool, one)
    record.finish(pool, one, "failed", "the store was away")
    begin(pool, one)
    assert db.rows("select state, message, finished_at from cxr.retrainings") == [("running", None, None)]
    record.finish(pool, one, "completed", "the champion stays")
    with pytest.raises(RetrainingError, match="ended already: the champion stays"):
        begin(pool, one)


def test_open_triggers_are_taken_up_once_and_pass_on_from_one_that_came_to_no_end(
    db: Database, pool: sa.Engine
) -> None:
    trigger(db, "212 new labels")
    trigger(db, "elsewhere", "other")
    assert begin(pool, uuid4(), dry_run=True).triggers == (), "a dry run answers nothing"
    crashed, failed, done = uuid4(), uuid4(), uuid4()
    assert begin(pool, crashed).triggers == ("212 new labels",)
    assert begin(pool, failed).triggers == ("212 new labels",)
    record.finish(pool, failed, "failed", "no disk")
    trigger(db, "drift in contrast")
    assert begin(pool, done).triggers == ("212 new labels", "drift in contrast")
    record.finish(pool, done, "completed", "the champion stays")
    assert begin(pool, uuid4()).triggers == ()
    assert db.value("select count(*) from cxr.triggers where retraining_id is null") == 1
