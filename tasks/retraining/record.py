"""Retrainings: the record of each execution of retrain_and_compare, from its start to how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra import database
from sql.library import query

if TYPE_CHECKING:
    from uuid import UUID

    import sqlalchemy as sa


class RetrainingError(RuntimeError):
    """A retraining is not in the state that the request needs."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a retraining found when it began."""

    dead: tuple[UUID, ...]
    """Retrainings that had stopped without a word; they are marked as crashed now."""
    triggers: tuple[str, ...]
    """Why it was asked for, in words, oldest first; none where it is the schedule's or somebody's own idea."""


def start(
    pool: sa.Engine, retraining_id: UUID, flow_run_id: UUID | str | None, bucket: str, cause: str, dry_run: bool,  # noqa: FBT001 - a column of the row
    code_version: str,
) -> Started:  # fmt: skip
    """Write the row, mark dead ones as crashed, and take up the open triggers.

    Safe to repeat, also for one that failed: it goes on. The caller holds the lock of all retrainings.

    Args:
        pool: connections to the database.
        retraining_id: of this one.
        flow_run_id: its run in Prefect.
        bucket: whose images it is about.
        cause: schedule, by hand, new labels or drift.
        dry_run: it changes no champion; open triggers are left to the next real one.
        code_version: of the code that runs.

    Raises:
        RetrainingError: this one has ended with a decision already.
    """
    about = {
        "retraining_id": str(retraining_id),
        "flow_run_id": str(flow_run_id) if flow_run_id else None,
        "bucket": bucket,
        "cause": cause,
        "dry_run": dry_run,
        "code_version": code_version,
    }
    with database.transaction(pool) as cursor:
        cursor.execute(query("start_retraining"), about)
        if cursor.rowcount != 1:
            cursor.execute(query("retraining_message"), about)
            raise RetrainingError(f"retraining {retraining_id} has ended already: {cursor.fetchall()[0].message}")
        cursor.execute(query("bury_dead_retrainings"), about)
        dead = tuple(row.retraining_id for row in cursor.fetchall())
        cursor.execute(query("adopt_triggers"), about)
        return Started(dead, tuple(row.detail for row in cursor.fetchall()))


def describe(
    pool: sa.Engine, retraining_id: UUID, *, labels: int, data_fingerprint: str, test_fingerprint: str
) -> None:
    """Add what it learns from, known once the labels are read.

    Args:
        pool: connections to the database.
        retraining_id: of this one.
        labels: images with a current label; new labels are counted from here.
        data_fingerprint: of images, labels and splits.
        test_fingerprint: of those in the test split.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(
            query("describe_retraining"),
            {
                "retraining_id": str(retraining_id),
                "labels": labels,
                "data_fingerprint": data_fingerprint,
                "test_fingerprint": test_fingerprint,
            },
        )


def report(pool: sa.Engine, retraining_id: UUID, key: str) -> None:
    """Write where a retraining's report lies, at work or at its end."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("set_retraining_report"), {"retraining_id": str(retraining_id), "report_key": key})


def finish(pool: sa.Engine, retraining_id: UUID, state: str, message: str) -> None:
    """Write how a retraining ended that came to no decision of its own; `promotion.record` writes it with one.

    Args:
        pool: connections to the database.
        retraining_id: of this one.
        state: completed or failed.
        message: what happened, in a sentence.

    Raises:
        RetrainingError: it has ended otherwise, or a later one found it dead.
    """
    ended = {"retraining_id": str(retraining_id), "state": state, "message": message}
    with database.transaction(pool) as cursor:
        cursor.execute(query("finish_retraining"), ended)
        if cursor.rowcount != 1:
            raise RetrainingError(f"retraining {retraining_id} is not at work any more: it has ended or was found dead")
