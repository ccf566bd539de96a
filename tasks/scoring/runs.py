"""Runs: the record of each run, from its start to the decision whether its predictions are published."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from infra import database
from sql.library import query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from uuid import UUID

    import sqlalchemy as sa

    from infra.settings import Settings


SCORING = "nightly_scoring"


class RunError(RuntimeError):
    """A run cannot be found or is not in the state that the request needs."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of images by final state; `pending` ones have none."""

    discovered: int
    scored: int
    quarantined: int
    failed: int
    duplicate: int

    @classmethod
    def from_row(cls, row: Any) -> Counts:
        """Return the counts in a row that has a column for each."""
        return cls(row.discovered, row.scored, row.quarantined, row.failed, row.duplicate)

    @property
    def pending(self) -> int:
        """Images without a final state: above zero, the run cannot account for every image."""
        return self.discovered - self.scored - self.quarantined - self.failed - self.duplicate

    @property
    def bad(self) -> int:
        """Images that got no prediction because they were quarantined or failed."""
        return self.quarantined + self.failed


def start(
    pool: sa.Engine, run_id: UUID, flow_run_id: UUID | None, bucket: str, night: date, code_version: str,
    settings: dict[str, Any],
) -> list[UUID]:  # fmt: skip
    """Write the run's row and take over the images of this bucket's dead runs; the caller holds the bucket's lock.

    Safe to repeat: a run that failed is resumed.

    Returns:
        The runs taken over: they stopped early and are unpublished. They are judged and published with this one.

    Raises:
        RunError: this run has already been judged, or another run has taken it over.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(
            query("start_run"),
            {
                "run_id": str(run_id),
                "flow": SCORING,
                "flow_run_id": str(flow_run_id) if flow_run_id else None,
                "bucket": bucket,
                "night": night,
                "code_version": code_version,
                "settings": json.dumps(settings),
            },
        )
        if cursor.rowcount != 1:
            raise RunError(f"run {run_id} has ended already; start a new one instead of trying it again")
        cursor.execute(query("bury_dead_runs"), {"run_id": str(run_id), "bucket": bucket, "flow": SCORING})
        return [row.run_id for row in cursor.fetchall()]


def describe(pool: sa.Engine, run_id: UUID, model_version: str, runtime: str) -> None:
    """Record this run's model version and runtime, known once the model is loaded."""
    with database.transaction(pool) as cursor:
        scorer = {"run_id": str(run_id), "model_version": model_version, "runtime": runtime}
        cursor.execute(query("describe_run"), scorer)


def ensure_partitions(pool: sa.Engine, months_ahead: int = 2) -> int:
    """Create missing partitions for this month and the coming ones; return how many were created."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("ensure_partitions"), {"months_ahead": months_ahead})
        return int(cursor.fetchall()[0].created)


def count(pool: sa.Engine, run_ids: Sequence[UUID]) -> Counts:
    """Count the images of these runs by state."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("count_run"), {"run_ids": [str(run_id) for run_id in run_ids]})
        return Counts.from_row(cursor.fetchall()[0])


def judge(pool: sa.Engine, settings: Settings, run_ids: Sequence[UUID]) -> str | None:
    """Return why the night must be held: too many bad images overall or in a shard. None if it need not be."""
    whole, least = count(pool, run_ids), settings.bad_share_min_images
    if over_run := bad_share_exceeded(whole.bad, whole.discovered, settings.max_bad_share_run, least):
        return over_run
    with database.transaction(pool) as cursor:
        cursor.execute(query("shard_shares"), {"run_ids": [str(run_id) for run_id in run_ids]})
        shares = cursor.fetchall()
    for share in shares:
        if in_shard := bad_share_exceeded(share.bad, share.total, settings.max_bad_share_shard, least):
            return f"in shard {share.shard} {in_shard}"
    return None


def finish(
    pool: sa.Engine, run_id: UUID, state: str, message: str, counts: Counts, skipped: int,
    report_key: str | None = None, data_docs_key: str | None = None,
) -> None:  # fmt: skip
    """Record how a run ended; `completed` also publishes it and the runs it took over, in one transaction.

    Raises:
        RunError: the run has already ended, or another run took it over.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(
            query("finish_run"),
            asdict(counts)
            | {
                "run_id": str(run_id),
                "state": state,
                "message": message,
                "skipped": skipped,
                "report_key": report_key,
                "data_docs_key": data_docs_key,
            },
        )
        if cursor.rowcount != 1:
            raise RunError(f"run {run_id} is not running any more: another run took it over, or it has ended")
        if state == "completed":
            cursor.execute(query("publish_taken_over"), {"run_id": str(run_id)})


def release(pool: sa.Engine, run_id: UUID, reason: str, *, by: str | None = None) -> int:
    """Publish a held run, and the runs that it took over, because a person has approved it.

    Args:
        pool: connections to the database.
        run_id: the held run.
        reason: why its predictions may be published.
        by: who approves it; stored in addition to the database user, which several people may share.

    Returns:
        The number of predictions that became visible.

    Raises:
        RunError: the reason is empty, or the run does not exist or is not held.
    """
    if not reason.strip():
        raise RunError("say why: the reason is kept on the run's row for those who come after")
    with database.transaction(pool) as cursor:
        cursor.execute(query("release_run"), {"run_id": str(run_id), "reason": reason, "by": by})
        released = [row.run_id for row in cursor.fetchall()]
        if not released:
            raise RunError(f"run {run_id} is not held; `cxr status` lists the runs and their states")
        cursor.execute(query("count_predictions"), {"run_ids": released})
        return int(cursor.fetchall()[0].predictions)


def newest(pool: sa.Engine, bucket: str) -> tuple[str, str | None]:
    """Return the state and message of the bucket's newest run.

    Raises:
        RunError: the bucket has no run.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("newest_run"), {"bucket": bucket})
        row = cursor.fetchone()
    if row is None:
        raise RunError("no run of this bucket has begun")
    return row.state, row.message


def bad_share_exceeded(bad: int, total: int, threshold: float, min_images: int) -> str | None:
    """Say that the share of bad images is too high; None if it is not, or if there are too few images to judge.

    Args:
        bad: images that were quarantined or failed.
        total: images judged.
        threshold: largest accepted share of bad images, 0 to 1.
        min_images: with fewer images, the share is not judged.
    """
    if total < max(min_images, 1) or bad / total <= threshold:
        return None
    share = f"{bad} of {total} images ({bad / total:.0%})"
    return f"{share} were quarantined or failed; at most {threshold:.0%} is accepted"
