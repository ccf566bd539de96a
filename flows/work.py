"""The basis of every flow: the steps that Prefect shows, what they share, and how an error ends a run."""

from __future__ import annotations

import functools
import logging
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID, uuid4

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import TerminationSignal
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.utilities.annotations import quote

from infra import database
from infra.storage import Store
from models.errors import in_words, is_explained
from tasks.pages import publishing
from tasks.radiographs import fetching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import sqlalchemy as sa
    from prefect.client.schemas.objects import State

    from infra.settings import Settings

Given = ParamSpec("Given")
Result = TypeVar("Result")


class RunCancelledError(RuntimeError):
    """A person cancelled the run in Prefect; the message says at which point."""


def _without_traceback(record: logging.LogRecord) -> bool:
    """Make Prefect log an explained error as its message alone: fifty lines of traceback help nobody at night."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and is_explained(error):
        record.msg, record.args, record.exc_info = "%s", (str(error),), None
    return True


for _logger in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_logger).addFilter(_without_traceback)


def flow_run_id() -> UUID:
    """Return the id of the current flow run, which our tables use too; a new one outside of Prefect."""
    return UUID(str(flow_run.id)) if flow_run.id else uuid4()


def step(name: str, *, run_name: str | None = None) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Make a function a step of a flow: a Prefect task that runs in the calling process.

    Prefect neither inspects its arguments nor stores its result: it would visit every measurement of every image.

    Args:
        name: the task's name in the UI.
        run_name: the name of each task run; may use arguments by name, such as `score shard {shard}`.
    """

    def made(function: Callable[Given, Result]) -> Callable[Given, Result]:
        shown = task(name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)(function)

        @functools.wraps(function)
        def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            unvisited: Any = [quote(one) for one in args]
            unvisited_by_name: Any = {key: quote(one) for key, one in kwargs.items()}
            result: Result = shown(*unvisited, **unvisited_by_name)
            return result

        return call

    return made


class Work:
    """What the steps of one flow run share: its settings, log, notes and clients."""

    what: str
    """The kind of work in log lines, such as `run` or `retraining`."""

    def __init__(self, settings: Settings, run_id: UUID) -> None:
        self.settings = settings
        self.run_id = run_id
        self.log = get_run_logger()
        self.notes: list[str] = []
        self._opened = ExitStack()

    @functools.cached_property
    def pool(self) -> sa.Engine:
        """The connection pool of the database, open until the run ends."""
        pool = database.engine(self.settings.database)
        self._opened.callback(pool.dispose)
        return pool

    @functools.cached_property
    def store(self) -> Store:
        """The bucket."""
        return Store(self.settings, fetching.thread_count(self.settings.intake_threads) + publishing.UPLOADS)

    def note(self, notes: Sequence[str]) -> None:
        """Keep notes for the run's report and log each of them once, as a warning."""
        for words in notes:
            if words not in self.notes:
                self.notes.append(words)
                self.log.warning("%s %s: %s", self.what, self.run_id, words)

    def retrying_database(self, function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
        """Call a function that is safe to repeat, and retry while Postgres is unavailable.

        Raises:
            DatabaseError: Postgres did not come back within CXR_DATABASE_PATIENCE_S, or an error is permanent.
        """

        def waiting(retry: Any) -> None:
            self.log.warning(
                "%s %s: Postgres is away, attempt %d; waiting up to %.0f s in all",
                self.what, self.run_id, retry.attempt_number, self.settings.database_patience_s,
            )  # fmt: skip

        return database.retrying(self.settings.database_patience_s, waiting)(function, *args, **kwargs)

    @contextmanager
    def best_effort(self, otherwise: str, *, noted: bool = False) -> Iterator[None]:
        """Log an error of the body and continue: the run is valid without it.

        Args:
            otherwise: what is missing after an error; it becomes a warning.
            noted: put the warning into the run's report too.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - no error here may stop the night
            words = f"{otherwise} ({in_words(error)})"
            if noted:
                self.note([words])
            else:
                self.log.warning("%s %s: %s", self.what, self.run_id, words)

    def ended_in_words(self, steps: Callable[[], State[Any]]) -> State[Any]:
        """Run the steps. An explained error ends the run with its message; connections are always closed.

        Args:
            steps: the work; the state that it returns becomes the flow's.
        """
        try:
            return steps()
        except RunCancelledError as error:
            return Cancelled(message=str(error))
        except Exception as error:
            if not is_explained(error):
                raise
            return Failed(message=str(error))
        finally:
            self._opened.close()


class LockedWork(Work, ABC):
    """A flow run under a lock (one runs at a time), whose row in the database says how it ended."""

    after_a_stop: str
    """What happens to the unfinished work when a signal stops the run, as words for a message."""

    def __init__(self, settings: Settings, run_id: UUID, lock: str) -> None:
        super().__init__(settings, run_id)
        self.lock = database.Lock(self.pool, lock)

    def under_lock(self, steps: Callable[[], State[Any]], elsewhere: str) -> State[Any]:
        """Run the steps under the lock. If they fail, write the reason on the run's row.

        Args:
            steps: the work; the state that it returns becomes the flow's.
            elsewhere: the message if another run holds the lock.
        """

        def locked() -> State[Any]:
            if not self.retrying_database(self.lock.acquire):
                self.log.info("%s %s: %s", self.what, self.run_id, elsewhere)
                return Completed(name="Skipped", message=elsewhere)
            try:
                return steps()
            except BaseException as error:
                with self.best_effort("its end could not be recorded"):  # Postgres may be unavailable
                    self.fail(self._why(error))
                raise
            finally:
                self.lock.release()

        return self.ended_in_words(locked)

    def _why(self, error: BaseException) -> str:
        if isinstance(error, RunCancelledError):
            return f"{error}; {self.after_a_stop}"
        if isinstance(error, (KeyboardInterrupt, TerminationSignal)):
            return f"a signal stopped it; {self.after_a_stop}"
        return str(error) if is_explained(error) else f"{in_words(error)}: see the flow run's log"

    @abstractmethod
    def fail(self, message: str) -> None:
        """Write on the run's row that it failed, with the message."""
