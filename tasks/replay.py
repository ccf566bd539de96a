"""Replay: put quarantined or failed images back in line, after a fix or a relaxed expectation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra import database
from sql.library import query

if TYPE_CHECKING:
    from uuid import UUID

    import sqlalchemy as sa


def requeue(
    pool: sa.Engine, bucket: str, *, states: tuple[str, ...] = ("quarantined", "failed"),
    reason: str | None = None, run_id: UUID | None = None, key: str | None = None,
) -> int:  # fmt: skip
    """Make images pending again, so that the next run of this bucket takes them.

    Args:
        pool: the database.
        bucket: where the images lie.
        states: quarantined, failed or both.
        reason: the name of an expectation that they failed, or words that their reason contains.
        run_id: the run that decided them.
        key: one object's key; all its versions.

    Returns:
        The number of images put back.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(
            query("requeue"),
            {
                "bucket": bucket,
                "states": list(states),
                "reason": reason,
                "run_id": str(run_id) if run_id else None,
                "key": key,
            },
        )
        return cursor.rowcount
