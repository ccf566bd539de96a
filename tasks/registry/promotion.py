"""Promotion: who is champion, since when and why. Each change is one transaction, and one at a time."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from infra import database
from sql.library import query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    import sqlalchemy as sa

    from infra.database import Cursor

DecisionOutcome = Literal["promoted", "would promote", "kept", "declined"]
BY_HAND = "`cxr champion promote VERSION --reason '...'`"


class PromotionError(RuntimeError):
    """The champion cannot be changed so; the message says why and what can be done."""


class StaleError(PromotionError):
    """Another model became champion while this one was being compared with the former."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What was decided about a retraining's challengers, with everything that it rests on. JSON-ready."""

    sentence: str
    champion_version: str | None
    """The champion that they were compared with; None where there was none."""
    challengers: tuple[str, ...]
    winner: str | None
    gate: Mapping[str, Any]
    """The rules."""
    evidence: Mapping[str, Any]
    """All figures."""
    data_fingerprint: str
    test_fingerprint: str
    test_images: int
    test_patients: int
    failures: Mapping[str, str] = field(default_factory=dict)
    """Recipes that gave no challenger, challengers that did not answer, and why."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as it stands in the database."""

    decision_id: int
    outcome: DecisionOutcome
    sentence: str
    promotion_id: int | None
    """None where the champion stayed."""


def record(
    pool: sa.Engine, retraining_id: UUID, ruling: Ruling, *, outcome: DecisionOutcome, approved_by: str | None = None
) -> Recorded:
    """Write a decision and what follows from it, in one transaction: all of it or nothing.

    The decision's row, with `promoted` the new champion, and the end of the retraining. Must be idempotent: a repeat,
    after an answer that was lost, finds the row and changes nothing.

    Args:
        pool: connections to the database.
        retraining_id: whose decision it is; it must be at work still.
        ruling: what was decided about whom.
        outcome: promoted; would promote (a dry run); kept; declined (by a person, or by nobody in time).
        approved_by: who agreed, or declined, where a person was asked.

    Raises:
        StaleError: the champion is not the one that the challengers were compared with; nothing was written.
        PromotionError: the retraining is not at work any more, or the winner cannot be promoted by a gate; nothing was
            written.
    """
    with _alone(pool) as cursor:
        if repeated := _recorded(cursor, retraining_id):
            return repeated
        _require_at_work(cursor, retraining_id, outcome)
        champion = _champion(cursor)
        if champion != ruling.champion_version:
            raise StaleError(
                f"the champion changed from {ruling.champion_version or 'none'} to {champion or 'none'} while this "
                "retraining was at work: nothing was decided; run it again"
            )
        if outcome in ("promoted", "would promote"):
            _require_fit(cursor, ruling, unasked=outcome == "promoted" and not approved_by)
        return _write(cursor, retraining_id, ruling, outcome, approved_by)


def promote(pool: sa.Engine, model_version: str, reason: str, *, by: str | None = None) -> str | None:
    """Make a model version champion on a person's word; the very first one is the bootstrap.

    Args:
        pool: connections to the database.
        model_version: who shall be champion.
        reason: why, for ever.
        by: who says so, kept beside the name of the database user, whom several people may share.

    Returns:
        The champion before, None where there was none.

    Raises:
        PromotionError: no reason is given, there is no such version, or it is champion already.
    """
    _require_reason(reason)
    with _alone(pool) as cursor:
        cursor.execute(query("model_version"), {"model_version": model_version})
        if cursor.rowcount != 1:
            raise PromotionError(f"there is no model version {model_version}")
        champion = _champion(cursor)
        if champion == model_version:
            raise PromotionError(f"{model_version} is champion already")
        _change(cursor, model_version, champion, "manual", reason, by=by)
        return champion


def rollback(pool: sa.Engine, reason: str, *, by: str | None = None) -> tuple[str, str]:
    """Go back to the champion before this one: one step, once. `reason` and `by` as for `promote`.

    Returns:
        The champion before and after.

    Raises:
        PromotionError: no reason is given, there is nothing to go back to, or the last change was a rollback itself.
    """
    _require_reason(reason)
    with _alone(pool) as cursor:
        cursor.execute(query("newest_promotion"))
        newest = cursor.fetchone()
        if newest is None:
            raise PromotionError("there is no champion yet, so nothing to go back to")
        champion, previous = newest.model_version, newest.previous_version
        if newest.kind == "rollback":
            raise PromotionError(
                f"the last change was a rollback itself, from {previous} to {champion}: one step is all that it goes. "
                f"If another model shall score, say which: {BY_HAND}"
            )
        if previous is None:
            raise PromotionError(
                f"{champion} is the first champion: there is none before it. Choose another: {BY_HAND}"
            )
        _change(cursor, previous, champion, "rollback", reason, by=by)
        return champion, previous


@contextmanager
def _alone(pool: sa.Engine) -> Iterator[Cursor]:
    """Give a cursor in a transaction during which nobody else changes the champion."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("transaction_lock"), {"lock": "cxr.promotion"})
        yield cursor


def _recorded(cursor: Cursor, retraining_id: UUID) -> Recorded | None:
    """Return the decision that this retraining has come to already."""
    cursor.execute(query("decision_of_retraining"), {"retraining_id": str(retraining_id)})
    row = cursor.fetchone()
    return Recorded(**row._asdict()) if row else None


def _require_at_work(cursor: Cursor, retraining_id: UUID, outcome: DecisionOutcome) -> None:
    """Refuse the word of a retraining that a later one took for dead, and a promotion by a dry run."""
    cursor.execute(query("lock_retraining"), {"retraining_id": str(retraining_id)})
    row = cursor.fetchone()
    if row is None or row.state != "running":
        state = row.state if row else "unknown"
        raise PromotionError(f"retraining {retraining_id} is {state}, not at work: nothing was decided")
    if row.dry_run and outcome == "promoted":
        raise PromotionError(f"retraining {retraining_id} is a dry run: it promotes nothing")


def _require_fit(cursor: Cursor, ruling: Ruling, *, unasked: bool) -> None:
    """Refuse a winner that no gate may make champion, whatever its figures; `unasked`: no person has agreed."""
    if ruling.winner not in ruling.challengers:
        raise PromotionError(f"the winner, {ruling.winner}, is not among the challengers: nothing was decided")
    cursor.execute(query("model_version"), {"model_version": ruling.winner})
    winner = cursor.fetchone()
    if winner is None:
        raise PromotionError(f"there is no model version {ruling.winner}: nothing was decided")
    cursor.execute(query("champion"))
    champion = cursor.fetchone()
    if champion is None:
        return
    if winner.artifact_sha256 == champion.artifact_sha256:
        raise PromotionError(f"{ruling.winner} is the champion's own model: it cannot win against itself")
    if winner.made_data and not champion.made_data:
        raise PromotionError(
            f"{ruling.winner} was trained on made data, the champion on radiographs: no gate promotes it, "
            f"whatever its figures; a person may: {BY_HAND}"
        )
    # A champion of phantoms counts as none, beside radiographs.
    if unasked and set(winner.classes) != set(champion.classes) and champion.made_data <= winner.made_data:
        raise PromotionError(
            f"{ruling.winner} knows {', '.join(winner.classes)}, the champion {', '.join(champion.classes)}: analysts "
            f"would find other classes than before, so no gate promotes it by itself; a person may: {BY_HAND}"
        )


def _write(
    cursor: Cursor, retraining_id: UUID, ruling: Ruling, outcome: DecisionOutcome, approved_by: str | None
) -> Recorded:
    """Write the decision, the promotion if there is one, and the retraining's end."""
    decision = asdict(ruling) | {
        "retraining_id": str(retraining_id),
        "outcome": outcome,
        "challengers": list(ruling.challengers),
        "approved_by": approved_by,
        **{name: json.dumps(getattr(ruling, name), allow_nan=False) for name in ("gate", "evidence", "failures")},
    }
    cursor.execute(query("record_decision"), decision)
    decision_id = int(cursor.fetchall()[0].decision_id)
    promotion_id = None
    if outcome == "promoted" and ruling.winner is not None:
        promotion_id = _change(
            cursor, ruling.winner, ruling.champion_version, "gate", ruling.sentence, decision_id=decision_id
        )
    ended = {
        "retraining_id": str(retraining_id),
        "state": "completed",
        "message": ruling.sentence,
    }
    cursor.execute(query("finish_retraining"), ended)
    # A page that was stored while a person was asked says that it waits; one of the decision is yet to be written.
    cursor.execute(query("set_retraining_report"), {"retraining_id": str(retraining_id), "report_key": None})
    return Recorded(decision_id, outcome, ruling.sentence, promotion_id)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise PromotionError("say why: the reason is kept in the history for those who come after")


def _champion(cursor: Cursor) -> str | None:
    cursor.execute(query("champion"))
    row = cursor.fetchone()
    return row.model_version if row else None


def _change(
    cursor: Cursor,
    model_version: str,
    previous: str | None,
    kind: str,
    reason: str,
    *,
    decision_id: int | None = None,
    by: str | None = None,
) -> int:
    """Write a promotion; the first one ever is the bootstrap, whoever made it."""
    change = {
        "model_version": model_version,
        "previous_version": previous,
        "kind": kind if previous else "bootstrap",
        "reason": reason,
        "decision_id": decision_id,
        "by": by,
    }
    cursor.execute(query("promote"), change)
    return int(cursor.fetchall()[0].promotion_id)
