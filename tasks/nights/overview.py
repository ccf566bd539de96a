"""Overview: the state of the system, read from Postgres for a person at a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra import database
from sql.library import query

if TYPE_CHECKING:
    from uuid import UUID

    import sqlalchemy as sa

AT_WORK = "at work"
GONE = "its process is gone; cxr score takes it up"
RETRAINING_GONE = "its process is gone; cxr retrain goes on after the last epoch that it finished"
RETRAININGS = 3


class NoSuchRunError(RuntimeError):
    """A person asked for a run that does not exist."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What `cxr status` shows."""

    champion: str | None
    runs: list[str]
    """A block of two or three lines for each run, newest first."""
    retrainings: list[str]
    """A block for each of the latest retrainings, likewise."""
    due: list[str]
    """Reasons for a retraining that none has taken up yet."""
    waiting: list[str]
    """Lines about images that have no prediction, each with what to do."""


def look(pool: sa.Engine, runs: int) -> Overview:
    """Read the champion, the latest runs and retrainings, and the images that wait or were not scored."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("champion"))
        row = cursor.fetchone()
        champion = None
        if row is not None:
            champion = f"{row.model_version}, promoted {row.promoted_at:%Y-%m-%d %H:%M}"
            champion += ", trained on made data" if row.made_data else ""
        cursor.execute(query("latest_runs"), {"runs": runs})
        latest = [
            f"{run.night}  {run.state}  started {run.started}  run {run.run_id}\n"
            f"    {run.message or (AT_WORK if run.alive else GONE)}"
            for run in cursor.fetchall()
        ]
        cursor.execute(query("latest_retrainings"), {"retrainings": RETRAININGS})
        retrainings = [
            f"{one.state}  started {one.started}  ({one.cause}{', dry run' if one.dry_run else ''})  "
            f"retraining {one.retraining_id}\n    {one.message or (AT_WORK if one.alive else RETRAINING_GONE)}"
            for one in cursor.fetchall()
        ]
        cursor.execute(query("due_retrainings"))
        due = [f"A retraining is due: {row.detail}" for row in cursor.fetchall()]
        cursor.execute(query("unscored"))
        waiting = [f"{row.images} {row.state}: {row.what}" for row in cursor.fetchall()]
    return Overview(champion, latest, retrainings, due, waiting)


def require_run(pool: sa.Engine, run_id: UUID) -> None:
    """Check that a run exists.

    Raises:
        NoSuchRunError: it does not.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("find_run"), {"run_id": str(run_id)})
        if cursor.rowcount != 1:
            raise NoSuchRunError(f"there is no run {run_id}; `cxr status` lists them")


def report_key(pool: sa.Engine, run_id: UUID | None, *, retraining: bool = False) -> str:
    """Return the object key of the report on a night or a retraining.

    Args:
        pool: connections to the database.
        run_id: the run or retraining; None for the newest one with a report, or with a decision.
        retraining: which of the two, if `run_id` is None.

    Raises:
        NoSuchRunError: the run does not exist or has no report; the message gives a retraining's decision.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("report_key"), {"run_id": str(run_id) if run_id else None, "retraining": retraining})
        found = cursor.fetchone()
    if found is None and run_id:
        raise NoSuchRunError(f"there is no run {run_id}; `cxr status` lists them")
    if found and found.report_key is None and found.decided:
        raise NoSuchRunError(
            "the retraining has no report: it stopped before one was stored. Its decision stands, with all figures in "
            f"analysis.decisions: {found.decided}"
        )
    if found is None or found.report_key is None:
        nothing = "one that trained nothing" if retraining else "one that found nothing new"
        raise NoSuchRunError(f"there is no report; {nothing} writes none")
    return str(found.report_key)
