"""The basis of every flow: steps as Prefect shows them, and how an error ends a run and is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from prefect import flow
from prefect.logging import disable_run_logger
from prefect.runtime import task_run
from prefect.states import Completed

from flows.work import LockedWork, RunCancelledError, Work, step
from infra.settings import Settings, SettingsError
from tasks.datasets.dataset import DatasetError
from tasks.validation.verdicts import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prefect.client.schemas.objects import State

WORDS = "the scanner of ward 3 must be named"


class Errand(LockedWork):
    """A run that keeps what would be written on its row."""

    what = "errand"
    after_a_stop = "the next one goes on"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, uuid4(), "cxr.errand")
        self.failures: list[str] = []

    def fail(self, message: str) -> None:
        self.failures.append(message)


@pytest.fixture
def errand(settings: Settings) -> Iterator[Errand]:
    """A run at work, outside of Prefect."""
    with disable_run_logger():
        yield Errand(settings)


def failing(error: BaseException) -> Callable[[], State[Any]]:
    def steps() -> State[Any]:
        raise error

    return steps


@pytest.mark.parametrize("kind", [ValidationError, DatasetError, SettingsError])
def test_an_error_of_ours_ends_a_run_in_its_own_words(errand: Errand, kind: type[Exception]) -> None:
    state = errand.under_lock(failing(kind(WORDS)), "elsewhere")
    assert state.is_failed()
    assert state.message == WORDS
    assert errand.failures == [WORDS]


def test_the_words_of_a_foreign_error_are_not_shown(errand: Errand) -> None:
    with pytest.raises(RuntimeError):
        errand.under_lock(failing(RuntimeError("incoming/DOE^JANE.png")), "elsewhere")
    assert errand.failures == ["RuntimeError: see the flow run's log"]


def test_a_run_that_is_stopped_says_what_becomes_of_its_work(errand: Errand) -> None:
    assert errand.under_lock(failing(RunCancelledError("it was cancelled")), "elsewhere").is_cancelled()
    with pytest.raises(KeyboardInterrupt):
        errand.under_lock(failing(KeyboardInterrupt()), "elsewhere")
    assert errand.failures == [
        "it was cancelled; the next one goes on", "a signal stopped it; the next one goes on"
    ]  # fmt: skip


def test_one_run_at_a_time_holds_the_lock_and_the_next_gets_it(errand: Errand, settings: Settings) -> None:
    other = Errand(settings)

    def steps() -> State[Any]:
        assert other.under_lock(failing(AssertionError()), "elsewhere").name == "Skipped"
        return Completed()

    assert errand.under_lock(steps, "elsewhere").is_completed()
    assert other.under_lock(Completed, "elsewhere").name == "Completed"


def test_a_run_that_needs_no_service_needs_none_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    for name in ("CXR_DATABASE_URL", "CXR_S3_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    with disable_run_logger():
        work = Work(Settings.load(), uuid4())
    assert work.ended_in_words(Completed).is_completed()
    with pytest.raises(SettingsError, match="CXR_DATABASE_URL"):
        _ = work.pool


def test_what_is_left_out_for_an_error_is_noted_without_a_foreign_errors_words(errand: Errand) -> None:
    for error in (DatasetError(WORDS), RuntimeError("incoming/DOE^JANE.png")):
        with errand.best_effort("no table", noted=True):
            raise error
        with errand.best_effort("no picture"):
            raise error
    assert errand.notes == [f"no table ({WORDS})", "no table (RuntimeError)"]


@dataclass
class Images:
    """Something that Prefect would visit, and copy."""

    found: list[object] = field(default_factory=list)


@pytest.mark.usefixtures("prefect")
def test_a_step_gets_its_arguments_as_they_are_and_prefect_shows_its_names() -> None:
    shown: list[tuple[str, str]] = []

    @step("score shard", run_name="score shard {shard} of {images.found[0]}")
    def score(shard: int, images: Images, *, again: bool = False) -> tuple[int, Images, bool]:
        shown.append((str(task_run.task_name), str(task_run.name)))
        return shard, images, again

    @step("refuse")
    def refuse() -> None:
        raise DatasetError(WORDS)

    given = Images(["ward-3"])

    @flow
    def work() -> None:
        assert score(3, given) == (3, given, False)
        assert score(shard=4, images=given, again=True)[1] is given
        with pytest.raises(DatasetError, match=WORDS):
            refuse()

    work()
    assert shown == [("score shard", "score shard 3 of ward-3"), ("score shard", "score shard 4 of ward-3")]
