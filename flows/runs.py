"""Runs of the three flows: the state that their steps share."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from flows.work import LockedWork, Work
from tasks.pages.wording import counted
from tasks.retraining import record
from tasks.scoring import runs

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

    from flows.artifacts import Report
    from infra.settings import Settings
    from tasks.validation.verdicts import ShardVerdicts


LOCK = "cxr.retraining"
"""One retraining at a time for all buckets: there is only one champion."""

SHOWN_SETTINGS = {
    "look_back_days", "skip_suffixes", "max_attempts", "max_bytes", "max_pixels", "shard_size", "max_bad_share_shard",
    "max_bad_share_run", "bad_share_min_images", "runtime", "batch_size",
}  # fmt: skip
"""Settings written on the run's row: thresholds, never addresses or secrets."""


class Run(LockedWork):
    """One run of the scoring flow, and its results so far."""

    what = "run"
    after_a_stop = "the next run takes up what is left"

    def __init__(self, settings: Settings, night: date, run_id: UUID) -> None:
        super().__init__(settings, run_id, f"cxr.scoring:{settings.bucket}")
        self.date = night
        self.run_ids = [run_id]
        """This run, then the dead runs that it took over."""
        self.skipped = 0
        self.claimed = 0
        self.shards = 0
        self.kept_for_docs: list[ShardVerdicts] = []
        self.report: Report | None = None
        """What its report was rendered from; None until the report is written."""

    def fail(self, message: str) -> None:
        """Write on the run's row that it failed, and how far it got."""
        runs.finish(self.pool, self.run_id, "failed", message, runs.count(self.pool, [self.run_id]), self.skipped)


class Retraining(LockedWork):
    """One run of the retraining flow, and its results so far."""

    what = "retraining"
    after_a_stop = "the next one continues after the last epoch that it finished"

    def __init__(self, settings: Settings, run_id: UUID, cause: str, *, dry_run: bool) -> None:
        super().__init__(settings, run_id, LOCK)
        self.cause, self.dry_run = cause, dry_run
        self.date = datetime.now(ZoneInfo(settings.timezone)).date()
        """The day under which its report is stored, even if a person answers on a later day."""
        self.failures: dict[str, str] = {}
        """Recipes that gave no challenger, challengers that did not answer, and why."""

    def fail(self, message: str) -> None:
        """Write on the retraining's row that it failed, and how many recipes failed before."""
        record.finish(self.pool, self.run_id, "failed", message + self.failed_recipes)

    @property
    def failed_recipes(self) -> str:
        """The number of recipes that could not be judged, in brackets; empty if there are none."""
        return f" ({counted(len(self.failures), 'recipe')} could not be judged)" if self.failures else ""


class Tournament(Work):
    """One run of the tournament flow. It has no row, and with folders it needs no database."""

    what = "tournament"
