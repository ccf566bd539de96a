"""What the steps of every flow stand on: how a run's errors end it, and what is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from prefect.logging import disable_run_logger

from flows.work import Work
from infra.settings import SettingsError
from tasks.datasets.dataset import DatasetError
from tasks.validation.verdicts import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.settings import Settings


class Errand(Work):
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


def failing(error: BaseException) -> Any:
    def steps() -> None:
        raise error

    return steps


@pytest.mark.parametrize("kind", [ValidationError, DatasetError, SettingsError])
def test_an_error_of_ours_ends_a_run_in_its_own_words(errand: Errand, kind: type[Exception]) -> None:
    state = errand.alone(failing(kind("the scanner of ward 3 must be named")), "elsewhere")
    assert state.is_failed()
    assert state.message == "the scanner of ward 3 must be named"
    assert errand.failures == ["the scanner of ward 3 must be named"]


def test_the_words_of_a_foreign_error_are_not_shown(errand: Errand) -> None:
    with pytest.raises(RuntimeError):
        errand.alone(failing(RuntimeError("incoming/DOE^JANE.png")), "elsewhere")
    assert errand.failures == ["RuntimeError: see the flow run's log"]
