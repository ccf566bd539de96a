"""Overview: what a person at a terminal sees of the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from infra.database import Lock
from tasks.nights import overview

if TYPE_CHECKING:
    from tests.support.databases import Database
    from tests.support.nights import Nights


def shown(nights: Nights) -> list[str]:
    return [run.splitlines()[1].strip() for run in overview.look(nights.pool, 8).runs]


def test_a_run_whose_bucket_is_not_locked_is_shown_as_dead(nights: Nights) -> None:
    nights.begin(bucket="b")
    lock, other = Lock(nights.pool, "cxr.scoring:b"), Lock(nights.pool, "cxr.scoring:other")
    assert other.acquire()
    assert shown(nights) == [overview.GONE]
    assert lock.acquire()
    assert shown(nights) == [overview.AT_WORK]
    lock.release()
    assert shown(nights) == [overview.GONE]
    other.release()


def test_locks_are_found_whatever_their_bits_are(nights: Nights) -> None:
    """A lock's key is a signed number of 64 bits, which Postgres shows in two unsigned halves."""
    keys = [int(nights.db.value("select hashtextextended(%s, 0)", f"cxr.scoring:{n}")) for n in range(8)]  # type: ignore[call-overload]
    assert {key < 0 for key in keys} == {True, False}
    for number in range(8):
        nights.begin(bucket=str(number))
        lock = Lock(nights.pool, f"cxr.scoring:{number}")
        assert lock.acquire()
        assert shown(nights)[0] == overview.AT_WORK
        lock.release()


def test_waiting_images_are_distinguished_from_claimed_ones(nights: Nights) -> None:
    nights.listed("a", "b")
    assert overview.look(nights.pool, 1).waiting == ["2 pending: scored by the next run"]
    run_id = nights.begin()
    assert overview.look(nights.pool, 1).waiting == [f"2 pending: claimed by run {run_id}"]
    nights.finish(run_id, "failed")
    assert overview.look(nights.pool, 1).waiting == ["2 pending: scored by the next run"]


def test_a_run_that_ended_is_shown_with_its_own_message(nights: Nights) -> None:
    nights.finish(nights.begin())
    assert shown(nights) == ["it is completed"]


def test_the_newest_report_of_each_kind_is_found_and_none_is_said(db: Database, nights: Nights) -> None:
    for retraining in (False, True):
        with pytest.raises(overview.NoSuchRunError, match="no report"):
            overview.report_key(nights.pool, None, retraining=retraining)
    named = {}
    for name in ("one", "two"):
        run_id = nights.begin()
        nights.finish(run_id)
        db.rows("update cxr.runs set report_key = %s where run_id = %s", name, str(run_id))
        named[name] = run_id
    nights.finish(nights.begin())  # without a report
    retraining_id = uuid4()
    db.rows(
        "insert into cxr.retrainings (retraining_id, bucket, cause, dry_run, code_version, report_key) "
        "values (%s, 'b', 'by hand', false, '1', 'compared')",
        str(retraining_id),
    )
    assert overview.report_key(nights.pool, None) == "two"
    assert overview.report_key(nights.pool, named["one"]) == "one"
    assert overview.report_key(nights.pool, retraining_id) == "compared"
    assert overview.report_key(nights.pool, None, retraining=True) == "compared"
    with pytest.raises(overview.NoSuchRunError, match="there is no run"):
        overview.report_key(nights.pool, uuid4())


def test_a_retraining_is_shown_as_dead_or_at_work_and_due_ones_are_listed(db: Database, nights: Nights) -> None:
    db.rows(
        "insert into cxr.retrainings (retraining_id, bucket, cause, dry_run, code_version) "
        "values (%s, 'b', 'drift', true, '1')",
        str(uuid4()),
    )
    db.rows("insert into cxr.triggers (bucket, kind, detail) values ('b', 'new labels', '240 labels are new')")
    seen = overview.look(nights.pool, 8)
    assert seen.due == ["A retraining is due: 240 labels are new"]
    (block,) = seen.retrainings
    assert "(drift, dry run)" in block
    assert overview.RETRAINING_GONE in block
    lock = Lock(nights.pool, "cxr.retraining")
    assert lock.acquire()
    assert overview.AT_WORK in overview.look(nights.pool, 8).retrainings[0]
    lock.release()
