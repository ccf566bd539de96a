"""Triggers: request a retraining outside its schedule, once for each reason rather than every night."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from infra import database
from models.data.drift import MEASURES
from sql.library import query
from tasks.pages.wording import counted

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import sqlalchemy as sa

    from infra.settings import Settings

NEW_LABELS: Final = "new labels"
DRIFT: Final = "drift"
WORDS: Final = {measure.name: measure.words for measure in MEASURES}


@dataclass(frozen=True, slots=True)
class Trigger:
    """An open request for a retraining, which no retraining has taken up yet.

    `kind` is "new labels" or "drift", `detail` describes it in words, `run_id` is the run that fired it, and
    `flow_run_id` the flow run requested from Prefect; None if the request failed.
    """

    trigger_id: int
    run_id: UUID
    kind: str
    detail: str
    fired_at: datetime
    flow_run_id: UUID | None


def fire(pool: sa.Engine, settings: Settings, run_id: UUID) -> Trigger | None:
    """Decide whether a retraining is due, and write a trigger for it unless one is open.

    New labels are counted since the last retraining (dry runs excluded) or the last trigger. Drift fires once for each
    champion and onset: it can fire again after a night without drift, but not if a retraining has begun since. A lock
    and a single transaction cover reading and writing, so two concurrent nights fire one trigger. Safe to repeat.

    Args:
        pool: the database.
        settings: the bucket and the conditions for a retraining.
        run_id: the run that has just ended; its drift has been written.

    Returns:
        The open trigger, fired by this run or an earlier one; None if there is none.

    Raises:
        DatabaseError: Postgres failed.
    """
    bucket = {"bucket": settings.bucket}
    with database.transaction(pool) as cursor:
        cursor.execute(query("limit_statements_to_two_minutes"))
        cursor.execute(query("transaction_lock"), {"lock": f"cxr.triggers:{settings.bucket}"})
        cursor.execute(query("open_trigger"), bucket)
        if (row := cursor.fetchone()) is None:
            cursor.execute(query("trigger_state"), bucket)
            now = cursor.fetchall()[0]
            due = _due(settings, now.new_labels, now.measures if now.drift_unanswered else None)
            if not due:
                return None
            cursor.execute(
                query("write_trigger"),
                bucket
                | {
                    "kind": next(iter(due)),
                    "run_id": str(run_id),
                    "model_version": now.champion,
                    "detail": "; ".join(due.values()),
                    "labels": now.images,
                },
            )
            cursor.execute(query("open_trigger"), bucket)
            row = cursor.fetchone()
        return Trigger(**row._asdict()) if row else None


def _due(settings: Settings, new_labels: int, drifted: list[str] | None) -> dict[str, str]:
    """Return the reasons for a retraining, in words by kind; the first is the trigger's kind."""
    due = {}
    if drifted and settings.retrain_on_drift:
        due[DRIFT] = f"drift of {', '.join(WORDS.get(name, name) for name in drifted)}"
    if 0 < settings.retrain_new_labels <= new_labels:
        due[NEW_LABELS] = f"{counted(new_labels, 'image')} with new labels"
    return due


def note_asked(pool: sa.Engine, trigger_id: int, flow_run_id: UUID) -> None:
    """Record on the trigger the flow run that was requested from Prefect."""
    with database.transaction(pool) as cursor:
        parameters = {"trigger_id": trigger_id, "flow_run_id": str(flow_run_id)}
        cursor.execute(query("set_trigger_flow_run"), parameters)
