"""The shadow: its predictions are separate from the champion's, and even if it fails, no night waits for it long."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.radiographs.radiograph import Measurement
from models.serving.artifact import ArtifactError
from tasks.radiographs.fetching import ScoringInput
from tasks.registry import model_versions, promotion
from tasks.registry import trial as shadow_trial
from tasks.registry.model_versions import RegistryError
from tasks.registry.trial import ShadowError
from tasks.scoring import shadow
from tasks.scoring.shadow import Shadow
from tests.support.databases import ANALYST
from tests.support.nights import CLASSES, MODEL, NIGHT, Nights, quarantined, scored, sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from numpy.typing import NDArray

    from tests.support.databases import Database


TRIAL = "model-2"
PATIENCE_S = 60
"""Seconds after which a hanging test fails."""


class PneumoniaRuntime:
    """A runtime that predicts pneumonia for every image; a slow one answers once it is released."""

    name, classes = "test-f32", CLASSES

    def __init__(self, *errors: Exception, slow: threading.Event | None = None) -> None:
        self.errors, self.slow, self.seen = list(errors), slow, []

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert self.slow is None or self.slow.wait(PATIENCE_S)
        self.seen += [int(image.max()) for image in images]
        if self.errors:
            raise self.errors.pop()
        rows = [[np.nan] * 3 if image.max() == 255 else [0.1, 0.2, 0.7] for image in images]
        return np.array(rows, np.float32)


@pytest.fixture
def trial(nights: Nights) -> Nights:
    """A champion and a shadow."""
    nights.register(TRIAL)
    promotion.promote(nights.pool, MODEL, "the first one")
    shadow_trial.choose(nights.pool, TRIAL, "two weeks on trial")
    return nights


class Shard:
    """A shard of a run, scored by the champion and ready for the shadow."""

    def __init__(self, nights: Nights, run_id: UUID, ids: list[int]) -> None:
        self.lineage = nights.lineage(run_id)
        self.results = [scored(one, f"content {one}", "NORMAL" if one % 2 else "PNEUMONIA") for one in ids]
        nights.commit(run_id, *self.results)
        seen = [Measurement(n_bytes=1, sha256=sha256(f"content {one}")) for one in ids]
        self.intakes = [
            ScoringInput(
                one, about, np.full((2, 2, 1), one, np.uint8), shadow_pixels=np.full((4, 4, 1), 100 + one, np.uint8)
            )
            for one, about in zip(ids, seen, strict=True)
        ]

    def to(self, one: Shadow) -> None:
        one.hand_over(self.lineage, self.intakes, self.results)


def begin(nights: Nights, load: Callable[[], Any], *, own_input: bool = False, grace_s: float = 20) -> Shadow:
    wanted = model_versions.shadow(nights.pool)
    assert wanted is not None
    return Shadow(nights.pool, wanted, load, own_input=own_input, patience_s=1, grace_s=grace_s)


def fail(error: Exception) -> Any:
    raise error


def test_it_is_chosen_and_ended_with_a_reason_and_is_never_the_champion_itself(db: Database, nights: Nights) -> None:
    nights.register(TRIAL)
    pool = nights.pool
    promotion.promote(pool, MODEL, "the first one")
    assert model_versions.shadow(pool) is None
    for version, reason, error, words in (
        (MODEL, "x", ShadowError, "its own shadow"), ("model-9", "x", RegistryError, "no model version model-9"),
        (TRIAL, " ", ShadowError, "give a reason"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            shadow_trial.choose(pool, version, reason)
    with pytest.raises(ShadowError, match="no model version scores alongside"):
        shadow_trial.end(pool, "it is over")
    shadow_trial.choose(pool, TRIAL, "two weeks")
    with pytest.raises(ShadowError, match="already"):
        shadow_trial.choose(pool, TRIAL, "two weeks more")
    assert model_versions.shadow(pool) == model_versions.require(pool, TRIAL)
    seen = "select model_version, champion, shadow from analysis.model_versions order by 1"
    assert db.rows(seen) == [(MODEL, True, False), (TRIAL, False, True)]
    assert shadow_trial.end(pool, "it is over") == TRIAL
    assert model_versions.shadow(pool) is None
    shadow_trial.choose(pool, TRIAL, "again")
    promotion.promote(pool, TRIAL, "it did well")
    assert model_versions.shadow(pool) is None, "who has become champion is no shadow any more"
    told = "select model_version, reason, set_by from cxr.shadows order by shadow_id"
    assert db.rows(told) == [
        (TRIAL, "two weeks", "test_writer"), (None, "it is over", "test_writer"), (TRIAL, "again", "test_writer")
    ]  # fmt: skip
    seen = "model_version, reason, end_reason, ended_at > set_at"
    assert db.rows(f"select {seen} from analysis.shadows order by shadow_id", user=ANALYST) == [
        (TRIAL, "two weeks", "it is over", True), (TRIAL, "again", None, None)
    ]  # fmt: skip


def test_its_predictions_appear_next_to_the_champions_and_in_no_other_view(db: Database, trial: Nights) -> None:
    ids = trial.listed("a", "b", "c", "d")
    run_id = trial.begin()
    views = ("latest_prediction", "prediction_history", "class_probabilities", "night_summary")
    one = begin(trial, PneumoniaRuntime)
    shard = Shard(trial, run_id, ids[:3])
    trial.commit(run_id, quarantined(ids[3]))
    before = db.rows("select p::text from cxr.predictions p order by 1")
    shard.to(one)
    assert (one.finish(), one.scored) == ([], 3)
    assert db.rows("select p::text from cxr.predictions p order by 1") == before
    assert db.rows("select * from analysis.shadow_comparison") == [], "the run is not published yet"
    trial.finish(run_id)
    about = "champion_version, champion_class, shadow_version, shadow_class, shadow_probability::text"
    found = db.rows(f"select image_id, {about}, agree, night from analysis.shadow_comparison order by 1", user=ANALYST)
    assert found == [
        (image, MODEL, "NORMAL" if image % 2 else "PNEUMONIA", TRIAL, "PNEUMONIA", "0.7", not image % 2, NIGHT)
        for image in ids[:3]
    ]
    agreeing = sum(not image % 2 for image in ids[:3])
    summary = "night, champion_version, shadow_version, images, agreeing, round(agreement::numeric, 3)"
    ((*rest, share),) = db.rows(f"select {summary} from analysis.shadow_summary", user=ANALYST)
    assert (rest, float(share)) == ([NIGHT, MODEL, TRIAL, 3, agreeing], pytest.approx(agreeing / 3, abs=1e-3))
    for view in views:
        rows = db.rows(f"select v::text from analysis.{view} v", user=ANALYST)
        assert rows
        assert not [row for (row,) in rows if TRIAL in row], view


def test_a_repeated_prediction_counts_once_and_one_without_a_champions_row_not_at_all(
    db: Database, trial: Nights
) -> None:
    ids = trial.listed("a", "b")
    run_id = trial.begin()
    Shard(trial, run_id, ids[:1])
    about = {
        "run_id": str(run_id), "model_version": TRIAL, "preprocessing_hash": "p", "code_version": "1", "runtime": "r",
    }  # fmt: skip
    answer = np.array([0.1, 0.2, 0.7], np.float32)
    for _ in range(2):
        shadow.commit(trial.pool, about, [(image, "PNEUMONIA", answer) for image in ids])
    assert db.rows("select image_id, content_sha256, made from cxr.shadow_predictions") == [
        (ids[0], sha256(f"content {ids[0]}"), False)
    ]


@pytest.mark.parametrize("own_input", [False, True])
def test_it_sees_what_its_own_preprocessing_made(trial: Nights, own_input: bool) -> None:  # noqa: FBT001 - a case
    ids = trial.listed("a", "b")
    answers = PneumoniaRuntime()
    one = begin(trial, lambda: answers, own_input=own_input)
    assert (one.own_spec is not None) == own_input
    Shard(trial, trial.begin(), ids).to(one)
    assert one.finish() == []
    assert answers.seen == [image + 100 * own_input for image in ids]


def test_one_that_cannot_be_loaded_says_why_and_names_nothing_that_an_unknown_error_says(trial: Nights) -> None:
    for error, words in ((ArtifactError("the file was changed"), "the file was changed"), (OSError("DOE"), "OSError")):
        one = begin(trial, lambda error=error: fail(error))
        assert not one.ready()
        assert one.gone
        one.hand_over(trial.lineage(trial.begin()), [], [])
        assert one.finish() == [f"the shadow {TRIAL} did not score: {words}"]


def test_one_that_fails_in_a_shard_goes_on_with_the_next_and_says_so(db: Database, trial: Nights) -> None:
    ids = trial.listed("a", "b", "c")
    run_id = trial.begin()
    one = begin(trial, lambda: PneumoniaRuntime(MemoryError("patient DOE")))
    Shard(trial, run_id, ids[:1]).to(one)
    bad = Shard(trial, run_id, ids[1:])
    bad.intakes[0].pixels.fill(255)  # type: ignore[union-attr]
    bad.to(one)
    (note,) = one.finish()
    assert note == f"the shadow {TRIAL} has scored 1 of 3 images: its answer was not finite"
    assert db.rows("select image_id from cxr.shadow_predictions") == [(ids[2],)]


def test_a_night_waits_for_a_slow_one_only_so_long(db: Database, trial: Nights) -> None:
    ids = trial.listed(*[str(number) for number in range(8)])
    run_id = trial.begin()
    shards = [Shard(trial, run_id, [image]) for image in ids]
    answer = threading.Event()
    one = begin(trial, lambda: PneumoniaRuntime(slow=answer), grace_s=0.2)
    for shard in shards:
        shard.to(one)
    (note,) = one.finish()
    answer.set()  # only now: nobody has waited for it
    assert note == f"the shadow {TRIAL} has scored 0 of 8 images: it is too slow"
    assert db.value("select count(*) from cxr.predictions") == 8


def test_one_that_is_loaded_late_joins_in_and_one_that_hangs_is_left_behind(trial: Nights) -> None:
    ids = trial.listed("a", "b", "c", "d")
    run_id = trial.begin()
    shards = [Shard(trial, run_id, [image]) for image in ids]
    loaded = threading.Event()
    late = begin(trial, lambda: loaded.wait() and PneumoniaRuntime(), grace_s=1)
    assert not late.ready()
    for shard in shards[:3]:
        shard.to(late)  # two find room, the third does not
    loaded.set()
    while late.scored < 2:
        time.sleep(0.001)
    shards[3].to(late)
    assert late.finish() == [f"the shadow {TRIAL} has scored 3 of 4 images: it is too slow"]
    load = threading.Event()
    hanging = begin(trial, lambda: load.wait(PATIENCE_S) and PneumoniaRuntime(), grace_s=0.1)
    assert hanging.finish() == [f"the shadow {TRIAL} did not score: it was not loaded in time"]
    load.set()


def test_of_an_unknown_error_only_its_type_is_said(trial: Nights) -> None:
    (one,) = trial.listed("a")
    shard = Shard(trial, trial.begin(), [one])
    failing = begin(trial, lambda: PneumoniaRuntime(MemoryError("patient DOE")))
    shard.to(failing)
    assert failing.finish() == [f"the shadow {TRIAL} has scored 0 of 1 image: MemoryError"]
