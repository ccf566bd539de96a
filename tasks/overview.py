"""Overview: where the system stands, read from Postgres for a person at a terminal."""

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


class NoSuchRunError(RuntimeError):
    """A person asked for a run that is not there."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What `cxr status` shows."""

    champion: str | None
    runs: list[str]
    """A block of two or three lines for each run, newest first."""
    waiting: list[str]
    """Lines about images that have no prediction, with what to do."""


def look(pool: sa.Engine, runs: int) -> Overview:
    """Read the champion, the latest runs, and the images that wait or were not scored."""
    with database.transaction(pool) as cursor:
        cursor.execute("select model_version, made_data, promoted_at from cxr.champion")
        row = cursor.fetchone()
        champion = None
        if row is not None:
            champion = f"{row[0]}, promoted {row[2]:%Y-%m-%d %H:%M}" + (", trained on made data" if row[1] else "")
        cursor.execute(query("latest_runs"), {"runs": runs})
        latest = [
            f"{night}  {state}  started {started}  run {run_id}\n    {message or (AT_WORK if alive else GONE)}"
            for night, started, state, run_id, message, alive in cursor.fetchall()
        ]
        cursor.execute(query("unscored"))
        waiting = [f"{count} {state}: {what}" for state, what, count in cursor.fetchall()]
    return Overview(champion, latest, waiting)


def require_run(pool: sa.Engine, run_id: UUID) -> None:
    """See that there is such a run.

    Raises:
        NoSuchRunError: there is none.
    """
    with database.transaction(pool) as cursor:
        cursor.execute("select from cxr.runs where run_id = %s", (str(run_id),))
        if cursor.rowcount != 1:
            raise NoSuchRunError(f"there is no run {run_id}; `cxr status` lists them")
