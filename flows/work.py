"""What the steps of a flow run share, and the errors that end it in words."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from prefect.exceptions import TerminationSignal
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed
from prefect.utilities.annotations import quote

from infra import database
from infra.storage import Store
from models.errors import in_words, is_explained
from tasks.pages import publishing
from tasks.radiographs import fetching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from prefect.client.schemas.objects import State

    from infra.settings import Settings

Result = TypeVar("Result")


class RunCancelledError(RuntimeError):
    """A person cancelled the run in Prefect; the message says when."""


def _without_traceback(record: logging.LogRecord) -> bool:
    """Let Prefect log an error of ours as its message: fifty lines of traceback around it help nobody at night."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and is_explained(error):
        record.msg, record.args, record.exc_info = "%s", (str(error),), None
    return True


for _logger in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_logger).addFilter(_without_traceback)


def as_is(value: Result) -> Result:
    """Pass a value to a task without Prefect looking into it: it would visit every measurement of every image."""
    return cast("Result", quote(value))


class Work(ABC):
    """What the steps of one flow run share: its settings, its clients, its lock, its log.

    Lives in the flow's process only. A plain class: Prefect looks into dataclasses among a task's parameters, and would
    find clients there.
    """

    what: str
    """How its log calls it."""
    after_a_stop: str
    """What happens to what it leaves when a signal stops it."""

    def __init__(self, settings: Settings, run_id: UUID, lock: str) -> None:
        self.settings = settings
        self.run_id = run_id
        self.log = get_run_logger()
        self.pool = database.engine(settings.database)
        self.store = Store(settings, fetching.threads(settings.intake_threads) + publishing.UPLOADS)
        self.lock = database.Lock(self.pool, lock)
        self.notes: list[str] = []

    def note(self, notes: Sequence[str]) -> None:
        """Keep what ops should know of this run, for its report, and log it once."""
        for words in notes:
            if words not in self.notes:
                self.notes.append(words)
                self.log.warning("%s %s: %s", self.what, self.run_id, words)

    def patiently(self, step: Callable[[], Result]) -> Result:
        """Run a repeatable database step, waiting while Postgres is away."""

        def waiting(retry: Any) -> None:
            self.log.warning(
                "%s %s: Postgres is away, try %d; waiting up to %.0f s in all",
                self.what, self.run_id, retry.attempt_number, self.settings.database_patience_s,
            )  # fmt: skip

        return database.patiently(step, self.settings.database_patience_s, waiting)

    @contextmanager
    def best_effort(self, otherwise: str) -> Iterator[None]:
        """Go on after an error in what is inside: the rows stand without it. A warning says `otherwise`."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the night
            self.log.warning("%s %s: %s (%s)", self.what, self.run_id, otherwise, in_words(error))

    def alone(self, steps: Callable[[], State[Any]], elsewhere: str) -> State[Any]:
        """Do all of the flow's work under its lock, and write on its row why it stopped if it fails.

        Args:
            steps: the work; its state is the flow's.
            elsewhere: what to say where another run holds the lock.
        """
        try:
            if not self.patiently(self.lock.acquire):
                self.log.info("%s %s: %s", self.what, self.run_id, elsewhere)
                return Completed(name="Skipped", message=elsewhere)
            try:
                return steps()
            except RunCancelledError as error:
                self._record_failure(f"{error}; {self.after_a_stop}")
                return Cancelled(message=str(error))
            except (KeyboardInterrupt, TerminationSignal):
                self._record_failure(f"it was told to stop by a signal; {self.after_a_stop}")
                raise
            except BaseException as error:
                if is_explained(error):
                    self._record_failure(str(error))
                    return Failed(message=str(error))
                self._record_failure(f"{in_words(error)}: see the flow run's log")
                raise
        finally:
            self.lock.release()
            self.pool.dispose()

    def _record_failure(self, message: str) -> None:
        with self.best_effort("its end could not be recorded"):  # as far as Postgres can be reached
            self.fail(message)

    @abstractmethod
    def fail(self, message: str) -> None:
        """Write on its row that it failed."""
