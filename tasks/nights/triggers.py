"""Triggers: why a retraining is asked for outside its schedule, once for each reason and not every night."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from infra import database
from models.data.drift import MEASURES
from sql.library import query
from tasks.nights.drift import PATIENCE
from tasks.pages.wording import counted

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from infra.settings import Settings

NEW_LABELS: Final = "new labels"
DRIFT: Final = "drift"
WORDS: Final = {measure.name: measure.words for measure in MEASURES}


@dataclass(frozen=True, slots=True)
class Trigger:
    """One open request for a retraining: no retraining has taken it up yet.

    `kind` is "new labels" or "drift", `detail` says more in words, `run_id` is the run that fired it, and
    `flow_run_id` the flow run that Prefect was asked for; None where it could not be asked.
    """

    trigger_id: int
    run_id: UUID
    kind: str
    detail: str
    fired_at: datetime
    flow_run_id: UUID | None


def fire(pool: sa.Engine, settings: Settings, run_id: UUID) -> Trigger | None:
    """Decide whether a retraining is due, and write a trigger for it unless one is open.

    New labels count from what the last retraining (no dry run) or the last trigger knew. Drift counts once for each
    champion and onset: again after a night without any, and not where a retraining has begun since. All is decided in
    the transaction that writes, one night after the other, so two nights at once fire one trigger. Safe to repeat.

    Args:
        pool: the database.
        settings: the bucket and what asks for a retraining.
        run_id: the run at whose end this is decided; its drift has been written.

    Returns:
        The open trigger, which may be this run's or an older one's; None where there is none.

    Raises:
        DatabaseError: Postgres failed.
    """
    bucket = {"bucket": settings.bucket}
    with database.transaction(pool) as cursor:
        cursor.execute(PATIENCE)
        cursor.execute("select pg_advisory_xact_lock(hashtextextended('cxr.triggers:' || %(bucket)s, 0))", bucket)
        cursor.execute(query("open_trigger"), bucket)
        if (row := cursor.fetchone()) is None:
            cursor.execute(query("trigger_state"), bucket)
            images, new_labels, unanswered, measures, champion = cursor.fetchall()[0]
            due = _due(settings, new_labels, measures if unanswered else None)
            if not due:
                return None
            cursor.execute(
                "insert into cxr.triggers (bucket, kind, run_id, model_version, detail, labels) "
                "values (%s, %s, %s, %s, %s, %s)",
                (settings.bucket, next(iter(due)), str(run_id), champion, "; ".join(due.values()), images),
            )
            cursor.execute(query("open_trigger"), bucket)
            row = cursor.fetchone()
        return _trigger(*row) if row else None


def _due(settings: Settings, new_labels: int, drifted: list[str] | None) -> dict[str, str]:
    """Return what asks for a retraining, in words by its kind; the first one names the trigger."""
    due = {}
    if drifted and settings.retrain_on_drift:
        due[DRIFT] = f"drift of {', '.join(WORDS.get(name, name) for name in drifted)}"
    if 0 < settings.retrain_new_labels <= new_labels:
        due[NEW_LABELS] = f"{counted(new_labels, 'image')} with new labels"
    return due


def _trigger(trigger_id: int, run_id: Any, kind: str, detail: str, fired_at: datetime, flow_run_id: Any) -> Trigger:
    return Trigger(
        trigger_id, UUID(str(run_id)), kind, detail, fired_at, UUID(str(flow_run_id)) if flow_run_id else None
    )


def note_asked(pool: sa.Engine, trigger_id: int, flow_run_id: UUID) -> None:
    """Write the flow run that Prefect was asked for on the trigger."""
    with database.transaction(pool) as cursor:
        cursor.execute("update cxr.triggers set flow_run_id = %s where trigger_id = %s", (str(flow_run_id), trigger_id))
