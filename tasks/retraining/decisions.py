"""Earlier decisions: no comparison is repeated, and a model that a person rejected is not promoted automatically."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra import database
from sql.library import query
from tasks.registry.promotion import PROMOTE_COMMAND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa


def already_decided(
    pool: sa.Engine, data_fingerprint: str, champion_version: str | None, training_keys: Sequence[str],
    gate: Mapping[str, Any] | None = None,
) -> str | None:  # fmt: skip
    """Say what was decided about exactly these challengers against this champion on this data; None if nothing was.

    Repeating the same test on the same images until it passes would let chance promote a model.

    Args:
        pool: connections to the database.
        data_fingerprint: fingerprint of images, labels and splits.
        champion_version: model version of the champion; None if there is none.
        training_keys: training keys of the challengers, in any order.
        gate: the rules; only decisions by the same rules count. None: decisions by any rules count.
    """
    parameters = {
        "data_fingerprint": data_fingerprint,
        "champion_version": champion_version,
        "training_keys": list(training_keys),
        "gate": None if gate is None else json.dumps(gate),
    }
    with database.transaction(pool) as cursor:
        cursor.execute(query("already_decided"), parameters)
        row = cursor.fetchone()
    if row is None:
        return None
    follow_ups = {
        "promoted": f" It has been undone since; {PROMOTE_COMMAND} brings it back.",
        "declined": f" {PROMOTE_COMMAND} promotes it all the same.",
    }
    return (
        f"nothing new to decide: the same challengers answered the same images on {row.decided_at:%Y-%m-%d}: "
        f"{row.sentence}{follow_ups.get(row.outcome, '')}"
    )


def undone(pool: sa.Engine, model_version: str) -> str | None:
    """Say when and why a person rolled back or declined a model version; None if nobody did.

    The gate alone never promotes such a version again, even after its rules change: a person must approve it.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("undone"), {"model_version": model_version})
        row = cursor.fetchone()
    return f"{model_version} was {row.what} on {row.happened_at:%Y-%m-%d}: {row.why}" if row else None
