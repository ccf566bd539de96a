"""Promotion: change the champion and record why. Changes are serialised, each in one transaction."""

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
PROMOTE_COMMAND = "`cxr champion promote VERSION --reason '...'`"


class PromotionError(RuntimeError):
    """The champion cannot be changed this way; the message says why and what to do."""


class StaleError(PromotionError):
    """The champion changed while challengers were being compared with the previous one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The decision about a retraining's challengers, with all its evidence. JSON-ready."""

    sentence: str
    champion_version: str | None
    """The champion that they were compared with; None if there was none."""
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
    """The reason for each recipe without a challenger and each challenger that did not answer."""


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision as stored in the database."""

    decision_id: int
    outcome: DecisionOutcome
    sentence: str
    promotion_id: int | None
    """None if the champion stayed."""


def record(
    pool: sa.Engine, retraining_id: UUID, ruling: Ruling, *, outcome: DecisionOutcome, approved_by: str | None = None
) -> RecordedDecision:
    """Write a decision and its consequences in one transaction.

    These are the decision's row, the new champion if `promoted`, and the end of the retraining. Idempotent: a repeat
    after a lost reply finds the row and changes nothing.

    Args:
        pool: connections to the database.
        retraining_id: the retraining that the decision belongs to; it must still be running.
        ruling: the decision.
        outcome: promoted; would promote (a dry run); kept; declined (by a person, or because nobody answered in time).
        approved_by: the person who approved or declined, if one was asked.

    Raises:
        StaleError: the champion is not the one that the challengers were compared with; nothing was written.
        PromotionError: the retraining is no longer running, or the gate may not promote the winner; nothing was
            written.
    """
    with _promotion_lock(pool) as cursor:
        if repeated := _recorded(cursor, retraining_id):
            return repeated
        _require_running(cursor, retraining_id, outcome)
        champion = _champion(cursor)
        if champion != ruling.champion_version:
            raise StaleError(
                f"the champion changed from {ruling.champion_version or 'none'} to {champion or 'none'} during this "
                "retraining: nothing was decided; run it again"
            )
        if outcome in ("promoted", "would promote"):
            _require_promotable(cursor, ruling, automatic=outcome == "promoted" and not approved_by)
        return _write(cursor, retraining_id, ruling, outcome, approved_by)


def promote(pool: sa.Engine, model_version: str, reason: str, *, by: str | None = None) -> str | None:
    """Make a model version champion by hand. The very first promotion is recorded as the bootstrap.

    Args:
        pool: connections to the database.
        model_version: the new champion.
        reason: why; kept permanently in the history.
        by: the person, stored in addition to the database user, which several people may share.

    Returns:
        The previous champion; None if there was none.

    Raises:
        PromotionError: no reason is given, there is no such version, or it is the champion already.
    """
    _require_reason(reason)
    with _promotion_lock(pool) as cursor:
        cursor.execute(query("model_version"), {"model_version": model_version})
        if cursor.rowcount != 1:
            raise PromotionError(f"there is no model version {model_version}")
        champion = _champion(cursor)
        if champion == model_version:
            raise PromotionError(f"{model_version} is already the champion")
        _change(cursor, model_version, champion, "manual", reason, by=by)
        return champion


def rollback(pool: sa.Engine, reason: str, *, by: str | None = None) -> tuple[str, str]:
    """Go back one step to the previous champion. `reason` and `by` as for `promote`.

    Returns:
        The champion before and after the rollback.

    Raises:
        PromotionError: no reason is given, there is no previous champion, or the last change was itself a rollback.
    """
    _require_reason(reason)
    with _promotion_lock(pool) as cursor:
        cursor.execute(query("newest_promotion"))
        newest = cursor.fetchone()
        if newest is None:
            raise PromotionError("there is no champion yet, so nothing to go back to")
        champion, previous = newest.model_version, newest.previous_version
        if newest.kind == "rollback":
            raise PromotionError(
                f"the last change was itself a rollback, from {previous} to {champion}: only one step back is "
                f"possible. To score with another model, promote it: {PROMOTE_COMMAND}"
            )
        if previous is None:
            raise PromotionError(
                f"{champion} is the first champion, so there is no previous one. Choose another: {PROMOTE_COMMAND}"
            )
        _change(cursor, previous, champion, "rollback", reason, by=by)
        return champion, previous


@contextmanager
def _promotion_lock(pool: sa.Engine) -> Iterator[Cursor]:
    """Yield a cursor in a transaction that holds the promotion lock: nobody else can change the champion."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("transaction_lock"), {"lock": "cxr.promotion"})
        yield cursor


def _recorded(cursor: Cursor, retraining_id: UUID) -> RecordedDecision | None:
    """Return the decision that this retraining has already recorded, if any."""
    cursor.execute(query("decision_of_retraining"), {"retraining_id": str(retraining_id)})
    row = cursor.fetchone()
    return RecordedDecision(**row._asdict()) if row else None


def _require_running(cursor: Cursor, retraining_id: UUID, outcome: DecisionOutcome) -> None:
    """Refuse a decision of a retraining that is no longer running, and a promotion by a dry run."""
    cursor.execute(query("lock_retraining"), {"retraining_id": str(retraining_id)})
    row = cursor.fetchone()
    if row is None or row.state != "running":
        state = row.state if row else "unknown"
        raise PromotionError(f"retraining {retraining_id} is {state}, not running: nothing was decided")
    if row.dry_run and outcome == "promoted":
        raise PromotionError(f"retraining {retraining_id} is a dry run: it promotes nothing")


def _require_promotable(cursor: Cursor, ruling: Ruling, *, automatic: bool) -> None:
    """Refuse a winner that the gate may not promote, whatever its figures. `automatic`: without a person's approval."""
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
            f"{ruling.winner} was trained on made data, the champion on radiographs: the gate never promotes it, "
            f"whatever its figures; a person may: {PROMOTE_COMMAND}"
        )
    # A champion trained on phantoms does not count against a winner trained on radiographs.
    if automatic and set(winner.classes) != set(champion.classes) and champion.made_data <= winner.made_data:
        raise PromotionError(
            f"{ruling.winner} predicts {', '.join(winner.classes)}, the champion {', '.join(champion.classes)}: "
            "analysts would see other classes, so the gate does not promote it by itself; a person may: "
            f"{PROMOTE_COMMAND}"
        )


def _write(
    cursor: Cursor, retraining_id: UUID, ruling: Ruling, outcome: DecisionOutcome, approved_by: str | None
) -> RecordedDecision:
    """Write the decision, the promotion if there is one, and the end of the retraining."""
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
    # A page stored while waiting for approval is out of date now; the decision's page is written later.
    cursor.execute(query("set_retraining_report"), {"retraining_id": str(retraining_id), "report_key": None})
    return RecordedDecision(decision_id, outcome, ruling.sentence, promotion_id)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise PromotionError("give a reason: it is kept in the history")


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
    """Write a promotion; the very first one is recorded as the bootstrap."""
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
