"""Replay: put quarantined or failed images back in the queue, after a fix or a relaxed expectation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from infra import database
from sql.library import query
from tasks.nights.overview import require_run

if TYPE_CHECKING:
    from uuid import UUID

    import sqlalchemy as sa


class NothingToReplayError(RuntimeError):
    """No image matches a selection; the message says why and names no object."""


def requeue(
    pool: sa.Engine, bucket: str, *, states: tuple[str, ...] = ("quarantined", "failed"),
    reason: str | None = None, run_id: UUID | None = None, key: str | None = None,
) -> int:  # fmt: skip
    """Make images pending again, so that the next run of this bucket scores them.

    Args:
        pool: the database.
        bucket: where the images lie.
        states: quarantined, failed or both.
        reason: the name of a failed expectation, or text that the reason contains.
        run_id: the run that decided the images.
        key: one object's key; selects all its versions.

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


def explain_nothing(
    pool: sa.Engine, bucket: str, *, states: tuple[str, ...], reason: str | None, run_id: UUID | None, key: str | None,
) -> NoReturn:  # fmt: skip
    """Raise an error that says why a selection, as for `requeue`, matches no image.

    Raises:
        NoSuchRunError: the run does not exist.
        NothingToReplayError: no image has this key or this reason, or none meets all conditions.
    """
    if run_id:
        require_run(pool, run_id)
    parameters = {"bucket": bucket, "states": list(states), "reason": reason, "key": key}
    kind = " or ".join(states)
    with database.transaction(pool) as cursor:
        cursor.execute(query("find_image"), parameters | {"image_id": None})
        if key and not cursor.rowcount:
            raise NothingToReplayError("no image of this bucket has this key")
        cursor.execute(query("replay_reasons"), parameters)
        reasons = cursor.fetchall()
    if not reasons:
        raise NothingToReplayError(f"no image of this bucket is {kind}")
    if reason and not any(row.asked_for for row in reasons):
        known = ", ".join(f"{row.name} ({row.images:,})" for row in reasons)
        raise NothingToReplayError(f"no {kind} image has this reason; there are: {known}")
    raise NothingToReplayError(f"no {kind} image is in this selection, or a run that is at work decided it")
