"""One run of the scoring flow."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect.logging import get_run_logger

from infra import database
from infra.storage import StorageError, Store
from models.artifact import ArtifactError
from models.runtime import RuntimeUnfit
from tasks import intake, registry, reporting, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date
    from uuid import UUID

    from infra.settings import Settings
    from tasks.validation import ShardVerdicts

SHOWN_SETTINGS = {
    "look_back_days", "skip_suffixes", "max_attempts", "max_bytes", "max_pixels", "shard_size", "max_bad_share_shard",
    "max_bad_share_run", "bad_share_min_images", "runtime", "batch_size",
}  # fmt: skip
"""Settings written on the run's row: thresholds, never addresses or secrets."""

KNOWN_ERRORS = (
    database.DatabaseError,
    database.LockLostError,
    StorageError,
    ArtifactError,
    RuntimeUnfit,
    registry.RegistryError,
    runs.RunError,
)
"""Errors whose message is written for ops and names no object."""


def _in_words(record: logging.LogRecord) -> bool:
    """Let Prefect log such an error as its message: fifty lines of traceback around it help nobody at night."""
    if record.exc_info and isinstance(record.exc_info[1], KNOWN_ERRORS):
        record.msg, record.args, record.exc_info = "%s", (str(record.exc_info[1]),), None
    return True


for _logger in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_logger).addFilter(_in_words)


class Run:
    """What the steps of one run share: its settings, its clients, its lock, and what it found out so far.

    Lives in the flow's process only. A plain class: Prefect looks into dataclasses among a task's parameters, and would
    find clients there.
    """

    def __init__(self, settings: Settings, night: date, run_id: UUID) -> None:
        self.settings = settings
        self.date = night
        self.run_id = run_id
        self.log = get_run_logger()
        self.pool = database.engine(settings.database)
        self.store = Store(settings, intake.threads(settings.intake_threads) + reporting.UPLOADS)
        self.lock = database.Lock(self.pool, f"cxr.scoring:{settings.bucket}")
        self.run_ids = [run_id]
        """This run, then the dead ones that it took over."""
        self.skipped = 0
        self.notes: list[str] = []
        self.claimed = 0
        self.shards = 0
        self.kept_for_docs: list[ShardVerdicts] = []

    def note(self, notes: Sequence[str]) -> None:
        """Keep what ops should know of this run, for its report, and log it once."""
        for words in notes:
            if words not in self.notes:
                self.notes.append(words)
                self.log.warning("run %s: %s", self.run_id, words)

    def patiently(self, step: Callable[[], Any]) -> Any:
        """Run a repeatable database step, waiting while Postgres is away."""

        def waiting(retry: Any) -> None:
            self.log.warning(
                "run %s: Postgres is away, try %d; waiting up to %.0f s in all",
                self.run_id, retry.attempt_number, self.settings.database_patience_s,
            )  # fmt: skip

        return database.patiently(step, self.settings.database_patience_s, waiting)

    @contextmanager
    def best_effort(self, otherwise: str) -> Iterator[None]:
        """Go on after an error in what is inside: the predictions stand without it. A warning says `otherwise`."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the night
            why = str(error) if isinstance(error, KNOWN_ERRORS) else type(error).__name__
            self.log.warning("run %s: %s (%s)", self.run_id, otherwise, why)
