"""The champions' history for the terminal: each change and its reason, the shadow, and doubts about a promotion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra import database
from sql.library import query

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the champions' history."""

    promotion_id: int
    model_version: str
    previous_version: str | None
    kind: str
    """bootstrap, gate, manual or rollback."""
    reason: str
    promoted_by: str
    approved_by: str | None
    promoted_at: datetime
    decision_id: int | None
    recipe: str
    made_data: bool


def history(pool: sa.Engine) -> list[Change]:
    """Return every change of champion, newest first."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("promotions"))
        return [Change(**row._asdict()) for row in cursor.fetchall()]


def shadow_sentence(pool: sa.Engine) -> str | None:
    """Return a sentence about the shadow, since when and why it is on trial; None if there is no shadow."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("current_trial"))
        row = cursor.fetchone()
    if row is None:
        return None
    return (
        f"Shadow: {row.model_version} has scored alongside the champion since {row.set_at:%Y-%m-%d %H:%M}, set by "
        f"{row.set_by}: {row.reason}"
    )


def doubts(pool: sa.Engine, model_version: str) -> list[str]:
    """Return sentences about what speaks against promoting a model version by hand. They do not prevent `promote`."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("judgement"), {"model_version": model_version})
        judged = cursor.fetchone()
        cursor.execute(query("model_version"), {"model_version": model_version})
        about = cursor.fetchone()
        cursor.execute(query("champion"))
        champion = cursor.fetchone()
    if about is None:
        return []
    found = []
    if judged is None:
        if champion:
            found.append(
                f"the gate has never compared {model_version} with the current champion, {champion.model_version}"
            )
    elif judged.was_champion:  # and today's champion was the challenger
        if judged.outcome in ("promoted", "would promote") and champion and judged.winner == champion.model_version:
            found.append(f"the gate decided against it on {judged.decided_at:%Y-%m-%d}: {judged.sentence}")
    elif judged.outcome == "kept" or judged.winner != model_version:
        found.append(f"the gate decided against it on {judged.decided_at:%Y-%m-%d}: {judged.sentence}")
    elif judged.outcome == "declined":
        found.append(f"it was declined on {judged.decided_at:%Y-%m-%d}: {judged.sentence}")
    if about.made_data:
        found.append(f"{model_version} was trained on made data: its predictions for radiographs mean nothing")
    return found
