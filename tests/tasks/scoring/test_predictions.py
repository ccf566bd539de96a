"""The commit of a shard: all or nothing, idempotent, and no content predicted twice."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest

from infra import database
from models.radiographs.radiograph import Measurement
from tasks.radiographs.fetching import ScoringInput
from tasks.scoring import inference, predictions
from tasks.scoring.predictions import ImageResult
from tasks.validation.reasons import Reason
from tests.support.nights import CLASSES, Nights, failed, quarantined, scored, sha256

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.databases import Database


def test_a_commit_writes_states_reasons_measurements_and_probabilities(db: Database, nights: Nights) -> None:
    one, two, three = nights.listed("a", "b", "c")
    run_id = nights.begin()
    seen = Measurement(
        n_bytes=9, sha256=sha256("x"), format="JPEG", width=300, height=200, bit_depth=8, channels=3, mean=0.5,
        std=0.25, p05=0.125, p95=0.875, made=True,
    )  # fmt: skip
    answer = ImageResult(one, "scored", measurement=seen, predicted_class="NORMAL", probabilities=(0.125, 0.625, 0.25))
    odd = 'odd "words", \\N, {NULL} and \n'
    bad = ImageResult(two, "quarantined", (Reason("NULL", "size"), Reason(odd, "grey"))), failed(three, odd)
    assert nights.commit(run_id, answer, *bad) == {"scored": 1, "quarantined": 1, "failed": 1}
    assert db.rows(
        "select format, width, height, bit_depth, channels, mean, std, contrast, content_sha256, made, "
        "decided_at <= now() from cxr.images where image_id = %s", one,
    ) == [("JPEG", 300, 200, 8, 3, 0.5, 0.25, 0.75, sha256("x"), True, True)]  # fmt: skip
    assert db.rows("select top_probability, probabilities, made from cxr.predictions") == [
        (0.625, [0.125, 0.625, 0.25], True)
    ]
    words = db.rows("select failed_expectations, reasons from cxr.images order by image_id")
    assert words == [([], None), (["size", "grey"], ["NULL", odd]), ([], [odd])]


def test_a_commit_repeated_changes_nothing(db: Database, nights: Nights) -> None:
    one, two = nights.listed("a", "b")
    run_id = nights.begin()
    results = (scored(one, "x"), quarantined(two))
    nights.commit(run_id, *results)
    before = db.rows("select * from cxr.images order by 1"), db.rows("select * from cxr.predictions")
    assert nights.commit(run_id, *results) == {}
    assert (db.rows("select * from cxr.images order by 1"), db.rows("select * from cxr.predictions")) == before


def test_no_index_of_images_names_what_a_verdict_changes(db: Database) -> None:
    """Otherwise each verdict would write a new entry into every index of the table."""
    named = db.rows("select indexdef from pg_indexes where schemaname = 'cxr' and tablename = 'images'")
    assert named
    changed = re.compile(r"\b(state|reasons|content_sha256|duplicate_of|decided_at|begun)\b")
    assert [definition for (definition,) in named if changed.search(definition)] == []


def test_a_late_commit_and_the_take_over_of_its_run_at_the_same_time_decide_each_image_once(
    db: Database, nights: Nights
) -> None:
    ids = nights.listed(*[f"{n}" for n in range(30)])
    first = nights.begin()
    results = [scored(image_id, str(image_id)) for image_id in ids]
    with ThreadPoolExecutor(2) as threads:
        late = threads.submit(nights.commit, first, *results)
        second = threads.submit(nights.begin)
        outcome = late.result()
        run_id = second.result()
    assert outcome in ({}, {"scored": 30})
    assert nights.commit(run_id, *results) == ({} if outcome else {"scored": 30})
    assert db.value("select count(*) from cxr.predictions") == 30


def test_the_same_content_within_a_shard_is_predicted_once(db: Database, nights: Nights) -> None:
    one, two, three = nights.listed("a", "b", "c")
    run_id = nights.begin()
    unscored = ImageResult(three, "scored", measurement=scored(three, "x").measurement)
    assert nights.commit(run_id, unscored, scored(two, "x"), scored(one, "x")) == {"scored": 1, "duplicate": 2}
    assert db.rows("select image_id, duplicate_of from cxr.images order by 1") == [
        (one, None),
        (two, one),
        (three, one),
    ]
    assert db.rows("select image_id from cxr.predictions") == [(one,)]


def test_the_same_content_in_a_later_shard_is_a_duplicate(db: Database, nights: Nights) -> None:
    one, two = nights.listed("a", "b")
    run_id = nights.begin(shard_size=1)
    assert nights.shards == [(0, 1), (1, 1)]
    # The later image may be committed first.
    assert nights.commit(run_id, scored(two, "x")) == {"scored": 1}
    assert nights.commit(run_id, scored(one, "x")) == {"duplicate": 1}
    assert db.value("select duplicate_of from cxr.images where image_id = %s", one) == two


def test_the_same_content_on_another_night_is_a_duplicate_and_needs_no_probabilities(
    db: Database, nights: Nights
) -> None:
    (one,) = nights.listed("a")
    nights.night(scored(one, "x"))
    assert predictions.known_content(nights.pool, [sha256("x"), sha256("y")]) == {sha256("x")}
    (two,) = nights.listed("b")
    run_id = nights.begin()
    known = ImageResult(two, "scored", measurement=scored(two, "x").measurement)
    assert nights.commit(run_id, known) == {"duplicate": 1}
    assert db.value("select count(*) from cxr.predictions") == 1


def test_a_quarantined_twin_is_no_duplicate(nights: Nights) -> None:
    one, two = nights.listed("a", "b")
    run_id = nights.begin()
    twin = ImageResult(one, "quarantined", (Reason("it is not", "grey"),), scored(one, "x").measurement)
    assert nights.commit(run_id, twin, scored(two, "x")) == {"quarantined": 1, "scored": 1}


def test_what_another_run_has_claimed_is_left_to_it(db: Database, nights: Nights) -> None:
    one, two = nights.listed("a", "b")
    first = nights.begin()
    nights.commit(first, scored(one, "x"))
    second = nights.begin()
    assert nights.taken_over == [first]
    assert nights.commit(first, scored(one, "x"), quarantined(two)) == {}
    assert nights.state(two) == "pending"
    assert nights.commit(second, scored(two, "y")) == {"scored": 1}
    assert db.rows("select run_id from cxr.predictions order by image_id") == [(str(first),), (str(second),)]


@pytest.mark.parametrize("shared", [1, 40])
def test_two_commits_of_the_same_content_at_the_same_time_give_one_prediction(
    db: Database, nights: Nights, shared: int
) -> None:
    """Two buckets have two locks, so two runs can commit the same content at once."""
    keys = [f"{n}" for n in range(shared)]
    ids = {bucket: nights.listed(*keys, bucket=bucket) for bucket in ("b", "c")}
    runs = {bucket: nights.begin(bucket=bucket) for bucket in ids}
    barrier = threading.Barrier(2)

    def commit(bucket: str) -> dict[str, int]:
        order = ids[bucket] if bucket == "b" else ids[bucket][::-1]
        results = [scored(image_id, f"content {ids[bucket].index(image_id)}") for image_id in order]
        barrier.wait()
        return nights.commit(runs[bucket], *results)

    with ThreadPoolExecutor(2) as threads:
        outcomes = sorted(threads.map(commit, ids), key=str)
    assert outcomes == [{"duplicate": shared}, {"scored": shared}]
    assert db.value("select count(*) from cxr.predictions") == shared
    assert db.value("select count(*) from cxr.prediction_keys") == shared


def test_the_same_commit_from_two_connections_at_once_counts_each_image_once(db: Database, nights: Nights) -> None:
    ids = nights.listed(*[f"{n}" for n in range(30)])
    run_id = nights.begin()
    results = [scored(image_id, str(image_id)) for image_id in ids]
    with ThreadPoolExecutor(3) as threads:
        outcomes = list(threads.map(lambda _: nights.commit(run_id, *results), range(3)))
    assert sorted(outcomes, key=len) == [{}, {}, {"scored": 30}]
    assert db.value("select count(*) from cxr.predictions") == 30


@pytest.mark.parametrize(
    "bad",
    [
        {"probabilities": (0.1, 1.5, 0.0), "predicted_class": "NORMAL"},
        {"probabilities": None, "predicted_class": None},
        {"probabilities": (0.1, 0.8, 0.1), "predicted_class": "NORMAL", "state": "lost"},
    ],
    ids=["a probability above 1", "no probabilities", "no such state"],
)
def test_a_bad_row_leaves_nothing_of_its_shard_behind(db: Database, nights: Nights, bad: dict[str, object]) -> None:
    one, two = nights.listed("a", "b")
    run_id = nights.begin()
    values = {"state": "scored", "measurement": scored(two, "y").measurement} | bad
    with pytest.raises(database.DatabaseError):
        nights.commit(run_id, scored(one, "x"), ImageResult(two, **values))  # type: ignore[arg-type]
    assert (nights.state(one), nights.state(two)) == ("pending", "pending")
    assert db.value("select count(*) from cxr.predictions") == db.value("select count(*) from cxr.prediction_keys") == 0
    assert nights.commit(run_id, scored(one, "x"), scored(two, "y")) == {"scored": 2}


def test_a_commit_says_nothing_of_the_row_that_was_refused(nights: Nights) -> None:
    (one,) = nights.listed("incoming/DOE^JANE.png")
    run_id = nights.begin()
    bad = ImageResult(one, "scored", measurement=scored(one, "x").measurement)
    with pytest.raises(database.DatabaseError) as refusal:
        nights.commit(run_id, bad)
    assert "DOE" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_a_run_without_a_row_commits_nothing(db: Database, nights: Nights) -> None:
    (one,) = nights.listed("a")
    assert nights.commit(uuid4(), scored(one, "x")) == {}
    assert db.value("select state from cxr.images") == "pending"


class NanForBlankRuntime:
    """A runtime that answers NaN for a blank image."""

    classes = CLASSES

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers = np.tile(np.float32([0.2, 0.7, 0.1]), (len(images), 1))
        answers[images.reshape(len(images), -1).max(axis=1) == 0] = np.nan
        return answers


def taken_in(image_id: int, content: str, level: int = 100) -> ScoringInput:
    return ScoringInput(image_id, scored(image_id, content).measurement, np.full((4, 4, 1), level, np.uint8))


def test_an_answer_that_is_not_finite_fails_the_image_and_its_twins_and_nothing_else(
    db: Database, nights: Nights
) -> None:
    ids = nights.listed("a", "b", "c", "d")
    run_id = nights.begin()
    shard = [taken_in(ids[0], "x", 0), taken_in(ids[1], "x", 0), taken_in(ids[2], "y"), taken_in(ids[3], "y")]
    results = inference.score(shard, NanForBlankRuntime(), set())  # type: ignore[arg-type]
    assert nights.commit(run_id, *results) == {"failed": 2, "scored": 1, "duplicate": 1}
    assert db.rows("select distinct reasons from cxr.images where state = 'failed'") == [
        (["the model's answer was not finite"],)
    ]


def test_content_that_is_known_is_not_scored_again() -> None:
    results = inference.score([taken_in(1, "x")], NanForBlankRuntime(), {sha256("x")})  # type: ignore[arg-type]
    assert [(one.state, one.probabilities) for one in results] == [("scored", None)]
