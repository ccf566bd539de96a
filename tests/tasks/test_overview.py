"""Overview: what a person at a terminal is shown of the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.database import Lock
from tasks import overview

if TYPE_CHECKING:
    from nights import Nights


def shown(nights: Nights) -> list[str]:
    return [run.splitlines()[1].strip() for run in overview.look(nights.pool, 8).runs]


def test_a_run_whose_bucket_nobody_has_locked_is_told_to_be_dead(nights: Nights) -> None:
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


def test_a_run_that_ended_is_shown_with_its_own_words(nights: Nights) -> None:
    nights.finish(nights.begin())
    assert shown(nights) == ["it is completed"]
