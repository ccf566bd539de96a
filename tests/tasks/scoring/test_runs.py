"""Runs: which run takes over which, what is published together, and that an end is final."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from infra.settings import Settings
from tasks.nights import replay
from tasks.scoring import runs
from tasks.scoring.runs import Counts, RunError
from tests.support.nights import Nights, failed, quarantined, scored

if TYPE_CHECKING:
    from tests.support.databases import Database


def states(db: Database) -> dict[str, tuple[str, bool]]:
    return {row[0]: row[1:] for row in db.rows("select run_id, state, published_at is not null from cxr.runs")}


def test_a_chain_of_dead_runs_is_published_with_the_one_that_completes(db: Database, nights: Nights) -> None:
    ids = nights.listed("a", "b", "c")
    first = nights.begin()
    nights.commit(first, scored(ids[0], "x"))
    second = nights.begin()
    nights.commit(second, scored(ids[1], "y"))
    third = nights.begin()
    assert set(nights.taken_over) == {first, second}
    assert nights.shards == [(0, 1)], "only what is left"
    nights.commit(third, quarantined(ids[2]))
    assert runs.count(nights.pool, [third, second, first]) == Counts(3, 2, 1, 0, 0)
    nights.finish(third)
    assert states(db) == {
        str(first): ("crashed", True),
        str(second): ("crashed", True),
        str(third): ("completed", True),
    }
    assert db.value("select count(*) from analysis.latest_prediction") == 2


def test_a_failed_run_is_taken_over_and_keeps_its_own_message(db: Database, nights: Nights) -> None:
    first = nights.begin()
    nights.finish(first, "failed")
    second = nights.begin()
    assert nights.taken_over == [first]
    nights.finish(second)
    assert states(db)[str(first)] == ("failed", True)
    assert db.value("select message from cxr.runs where run_id = %s", str(first)) == "it is failed"


def test_a_held_run_waits_for_a_person_with_all_that_it_took_over(db: Database, nights: Nights) -> None:
    one, two, three = nights.listed("a", "b", "c")
    dead = nights.begin()
    nights.commit(dead, scored(one, "x"))
    held = nights.begin()
    nights.commit(held, quarantined(two), quarantined(three))
    nights.finish(held, "held")
    later = nights.begin()
    assert nights.taken_over == []
    nights.finish(later)
    assert states(db) == {str(dead): ("crashed", False), str(held): ("held", False), str(later): ("completed", True)}
    assert runs.release(nights.pool, held, "looked at it") == 1
    assert states(db)[str(dead)] == ("crashed", True)
    assert db.value("select count(*) from analysis.latest_prediction") == 1


def test_only_a_held_run_can_be_released_and_only_once(nights: Nights) -> None:
    running = nights.begin()
    for run_id in (running, uuid4()):
        with pytest.raises(RunError, match="not held"):
            runs.release(nights.pool, run_id, "please")
    nights.finish(running, "held")
    with pytest.raises(RunError, match="say why"):
        runs.release(nights.pool, running, " ")
    runs.release(nights.pool, running, "please")
    with pytest.raises(RunError, match="not held"):
        runs.release(nights.pool, running, "again")


def test_runs_of_another_bucket_or_that_ended_well_are_not_taken_over(nights: Nights) -> None:
    nights.begin(bucket="other")
    nights.finish(nights.begin())
    nights.begin()
    assert nights.taken_over == []


def test_a_run_that_was_taken_over_cannot_end_any_more(db: Database, nights: Nights) -> None:
    first = nights.begin()
    second = nights.begin()
    nights.finish(second)
    for state in ("completed", "held", "failed"):
        with pytest.raises(RunError, match="took it over"):
            nights.finish(first, state)
    assert states(db)[str(first)] == ("crashed", True), "still published"


@pytest.mark.parametrize("first", ["completed", "held"])
@pytest.mark.parametrize("second", ["completed", "held", "failed"])
def test_the_end_of_a_run_is_final_and_may_be_said_twice(db: Database, nights: Nights, first: str, second: str) -> None:
    run_id = nights.begin()
    nights.finish(run_id, first)
    before = states(db)
    if second == first:
        nights.finish(run_id, second)
    else:
        with pytest.raises(RunError):
            nights.finish(run_id, second)
    assert states(db) == before


def test_saying_twice_that_a_run_failed_does_not_unpublish_it(db: Database, nights: Nights) -> None:
    first = nights.begin()
    nights.finish(first, "failed")
    nights.finish(nights.begin())
    nights.finish(first, "failed")
    assert states(db)[str(first)] == ("failed", True)


def test_starting_a_run_twice_changes_nothing(db: Database, nights: Nights) -> None:
    dead = nights.begin()
    run_id = nights.begin()
    nights.begin(run_id=run_id)
    assert nights.taken_over == [dead]
    assert states(db)[str(run_id)] == ("running", False)
    assert db.value("select count(*) from cxr.runs") == 2


def test_a_failed_run_that_is_tried_again_goes_on_where_it_was(db: Database, nights: Nights) -> None:
    one, two = nights.listed("a", "b")
    run_id = nights.begin()
    nights.commit(run_id, scored(one, "x"))
    nights.finish(run_id, "failed")
    nights.begin(run_id=run_id)
    assert states(db)[str(run_id)] == ("running", False)
    nights.commit(run_id, scored(two, "y"))
    nights.finish(run_id)
    assert runs.count(nights.pool, [run_id]) == Counts(2, 2, 0, 0, 0)
    assert states(db) == {str(run_id): ("completed", True)}


@pytest.mark.parametrize("state", ["completed", "held"])
def test_a_run_that_was_judged_cannot_be_tried_again(db: Database, nights: Nights, state: str) -> None:
    """Otherwise its predictions would be visible before it is judged, or a held night would pass on the second try."""
    run_id = nights.begin()
    nights.finish(run_id, state)
    before = states(db)
    with pytest.raises(RunError, match="ended already"):
        nights.begin(run_id=run_id)
    assert states(db) == before


def test_a_run_that_waits_with_a_held_one_cannot_be_tried_again(nights: Nights) -> None:
    dead = nights.begin()
    nights.finish(nights.begin(), "held")
    with pytest.raises(RunError, match="ended already"):
        nights.begin(run_id=dead)


def test_counts_tell_what_is_undecided(nights: Nights) -> None:
    ids = nights.listed("a", "b", "c", "d", "e")
    run_id = nights.begin()
    nights.commit(run_id, scored(ids[0], "x"), scored(ids[1], "x"), failed(ids[2]), quarantined(ids[3]))
    counts = runs.count(nights.pool, [run_id])
    assert (counts.pending, counts.bad, counts.duplicate) == (1, 2, 1)


@pytest.mark.parametrize(
    ("bad", "total", "shard_size", "held"),
    [(7, 20, 256, "7 of 20"), (6, 20, 256, None), (19, 19, 256, None), (25, 125, 25, "in shard 0")],
)
def test_too_many_bad_images_hold_the_night_but_not_in_a_small_one(
    nights: Nights, bad: int, total: int, shard_size: int, held: str | None
) -> None:
    settings = Settings(max_bad_share_run=0.3, max_bad_share_shard=0.8, bad_share_min_images=20)
    ids = nights.listed(*(f"{n}" for n in range(total)))
    dead = nights.begin(shard_size=shard_size)
    nights.commit(dead, *(quarantined(one) for one in ids[:bad]))
    run_id = nights.begin(shard_size=shard_size)
    nights.commit(run_id, *(scored(one, str(one)) for one in ids[bad:]))
    assert (held or "") in str(runs.judge(nights.pool, settings, [run_id, dead]))
    assert bool(held) == bool(runs.judge(nights.pool, settings, [run_id, dead]))


def test_a_run_that_was_taken_over_is_published_with_the_counts_of_what_it_decided(
    db: Database, nights: Nights
) -> None:
    one, two, three = nights.listed("a", "b", "c")
    dead = nights.begin()
    nights.commit(dead, scored(one, "x"), quarantined(two))
    run_id = nights.begin()
    nights.commit(run_id, scored(three, "y"))
    nights.finish(run_id)
    counts = "select discovered, scored, quarantined from cxr.runs where run_id = %s"
    assert db.rows(counts, str(dead)) == [(2, 1, 1)]
    assert db.rows(counts, str(run_id)) == [(1, 1, 0)]


def test_what_a_run_at_work_decided_is_not_replayed_and_what_it_took_over_is(nights: Nights) -> None:
    one, _ = nights.listed("a", "b")
    dead = nights.begin()
    nights.commit(dead, quarantined(one))
    assert replay.requeue(nights.pool, "b") == 0
    run_id = nights.begin()
    assert replay.requeue(nights.pool, "b", run_id=run_id) == 1


@pytest.fixture
def unscored(nights: Nights) -> dict[str, int]:
    low, colour, gone, fine = nights.listed("low", "colour", "gone", "fine")
    nights.night(quarantined(low, "contrast"), quarantined(colour, "grey"), failed(gone), scored(fine, "x"))
    return {"low": low, "colour": colour, "gone": gone, "fine": fine}


CHOICES: list[tuple[dict, list[str]]] = [
    ({"states": ("failed",)}, ["gone"]),
    ({"reason": "grey"}, ["colour"]),
    ({"reason": "DELETED after"}, ["gone"]),
    ({"key": "low"}, ["low"]),
    ({"key": "fine"}, []),
    ({"run_id": uuid4()}, []),
    ({"reason": "100%"}, []),
    ({}, ["colour", "gone", "low"]),
]


def test_replay_puts_exactly_what_was_asked_for_back_in_line(
    db: Database, nights: Nights, unscored: dict[str, int]
) -> None:
    db.rows("create table cxr.before as select * from cxr.images")
    for choice, expected in CHOICES:
        assert replay.requeue(nights.pool, "b", **choice) == len(expected), choice
        assert sorted(name for name, one in unscored.items() if nights.state(one) == "pending") == expected
        db.rows(
            """update cxr.images i set state = b.state, failed_expectations = b.failed_expectations,
               reasons = b.reasons, run_id = b.run_id from cxr.before b where b.image_id = i.image_id"""
        )


def test_what_was_replayed_is_scored_by_the_next_run_with_all_its_attempts(
    db: Database, nights: Nights, unscored: dict[str, int]
) -> None:
    assert replay.requeue(nights.pool, "elsewhere") == 0
    replay.requeue(nights.pool, "b", states=("quarantined",))
    run_id = nights.begin(retry_failed=False)
    assert nights.shards == [(0, 2)]
    nights.commit(run_id, scored(unscored["low"], "l"), scored(unscored["colour"], "c"))
    nights.finish(run_id)
    row = "select state, reasons, failed_expectations, attempts from cxr.images where image_id = %s"
    assert db.rows(row, unscored["low"]) == [("scored", None, [], 0)]
