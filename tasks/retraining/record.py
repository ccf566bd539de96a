"""Retrainings: the record of each run of retrain_and_compare, from start to end."""

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
    """What a retraining found when it started."""

    dead: tuple[UUID, ...]
    """Retrainings that had died unnoticed; they are now marked as crashed."""
    triggers: tuple[str, ...]
    """The reasons it was requested, oldest first; empty if it was scheduled or started by hand."""


def start(
    pool: sa.Engine, retraining_id: UUID, flow_run_id: UUID | str | None, bucket: str, cause: str, dry_run: bool,  # noqa: FBT001 - a column of the row
    code_version: str,
) -> Started:  # fmt: skip
    """Write the row, mark dead retrainings as crashed, and take up the open triggers.

    Safe to repeat: a retraining that failed is resumed. The caller holds the lock shared by all retrainings.

    Args:
        pool: connections to the database.
        retraining_id: id of this retraining.
        flow_run_id: its flow run in Prefect.
        bucket: the bucket with its images.
        cause: schedule, by hand, new labels or drift.
        dry_run: it does not change the champion; open triggers are left to the next real retraining.
        code_version: version of the running code.

    Raises:
        RetrainingError: this retraining has already ended with a decision.
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
    """Record what the retraining learns from, known once the labels are read.

    Args:
        pool: connections to the database.
        retraining_id: id of this retraining.
        labels: images with a current label; new labels are counted from here.
        data_fingerprint: fingerprint of images, labels and splits.
        test_fingerprint: fingerprint of the test split.
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
    """Record the object key of a retraining's report, during the retraining or at its end."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("set_retraining_report"), {"retraining_id": str(retraining_id), "report_key": key})


def finish(pool: sa.Engine, retraining_id: UUID, state: str, message: str) -> None:
    """Record how a retraining without a decision ended; `promotion.record` does it for one with a decision.

    Args:
        pool: connections to the database.
        retraining_id: id of this retraining.
        state: completed or failed.
        message: what happened, in a sentence.

    Raises:
        RetrainingError: it has already ended differently, or a later one found it dead.
    """
    ended = {"retraining_id": str(retraining_id), "state": state, "message": message}
    with database.transaction(pool) as cursor:
        cursor.execute(query("finish_retraining"), ended)
        if cursor.rowcount != 1:
            raise RetrainingError(f"retraining {retraining_id} is not at work any more: it has ended or was found dead")
