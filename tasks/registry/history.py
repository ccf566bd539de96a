"""Champions: who was it, since when and why, and what speaks against the next one; for a person at a terminal."""

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
        return [Change(*row) for row in cursor.fetchall()]


def trial(pool: sa.Engine) -> str | None:
    """Say who scores beside the champion on trial, since when and why; None where nobody does."""
    with database.transaction(pool) as cursor:
        cursor.execute(
            "select s.model_version, s.set_at, s.set_by, s.reason from cxr.shadows s "
            "join cxr.shadow using (model_version) order by s.shadow_id desc limit 1"
        )
        row = cursor.fetchone()
    return (
        f"Shadow: {row[0]} scores beside it, on trial since {row[1]:%Y-%m-%d %H:%M}, by {row[2]}: {row[3]}"
        if row
        else None
    )


def doubts(pool: sa.Engine, model_version: str) -> list[str]:
    """Say what speaks against making a model version champion by hand: for the person who is about to.

    Nothing of what it says hinders `promote`.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("judgement"), {"model_version": model_version})
        judged = cursor.fetchone()
        cursor.execute(
            "select m.made_data, c.model_version from cxr.model_versions m "
            "left join cxr.champion c on true where m.model_version = %s",
            (model_version,),
        )
        about = cursor.fetchone()
    if about is None:
        return []
    made, champion = about
    found = []
    if champion and judged is None:
        found.append(f"the gate has never compared {model_version} with the present champion, {champion}")
    elif judged and judged[4]:  # it was champion, and today's was the challenger
        if judged[0] in ("promoted", "would promote") and judged[1] == champion:
            found.append(f"the gate decided against it on {judged[2]:%Y-%m-%d}: {judged[3]}")
    elif judged and (judged[0] == "kept" or judged[1] != model_version):
        found.append(f"the gate decided against it on {judged[2]:%Y-%m-%d}: {judged[3]}")
    elif judged and judged[0] == "declined":
        found.append(f"it was declined on {judged[2]:%Y-%m-%d}: {judged[3]}")
    if made:
        found.append(f"{model_version} was trained on made data: its word on a radiograph means nothing")
    return found
