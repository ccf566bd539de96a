"""The verdict: the gate's decision in words for people, and names for the models compared."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Final

from tasks.pages.model_figures import DASH, ORDER, value_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.gate.checks import Check, Side
    from tasks.retraining.evidence import ComparisonEvidence, ModelEvidence

OUTCOMES: Final = {
    "promoted": "promoted",
    "would promote": "dry run: nothing was changed",
    "kept": "the champion stays",
    "declined": "not approved",
    "waiting": "waits for a person's word",
}
SIDES: Final[Mapping[Side, str]] = {
    "at least": "at least", "above": "above", "at most": "at most", "below": "at most",
}  # fmt: skip
"""How a check's limit is worded; "below" is shown as "at most" too."""


def order(primary: str) -> list[str]:
    """Return the names of a model's overall figures, the deciding one first."""
    return [primary, *(name for name in ORDER if name != primary)]


def headline(evidence: ComparisonEvidence) -> str:
    """Return the decision and what became of it in one sentence, with the reason.

    The gate only says what should be done: a dry run does not do it, and a person may decline or not have answered yet.
    """
    decision = evidence.decision
    sentence, sure = decision.sentence, decision.outcome == "promote"
    if decision.outcome == "keep":
        return f"Dry run: {sentence}" if evidence.dry_run else sentence
    what = f"{decision.winner}: {decision.because}." if sure else sentence
    if evidence.outcome == "promoted":
        return f"{sentence}{_persons_answer(evidence, 'Approved')}" if evidence.approved_by else sentence
    if evidence.outcome == "would promote":
        return f"Dry run: it would promote {what}" if sure else f"Dry run: {sentence}"
    if evidence.outcome == "declined":
        said = _persons_answer(evidence, "Declined" if evidence.approved_by else "Not approved")
        return f"Not promoted, though it passed the gate: {what}{said}"
    return f"Waiting for a person's word on {what}" if sure else sentence


def _persons_answer(evidence: ComparisonEvidence, said: str) -> str:
    """Return a person's answer as a separate sentence."""
    who = f" by {evidence.approved_by}" if evidence.approved_by else ""
    why = f": {evidence.because.rstrip('.')}" if evidence.because else ""
    return f" {said}{who}{why}."


def check_rows(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return the gate's checks of a challenger in words for people, failed ones first."""
    rows = [
        {
            "rule": check.name,
            "verdict": "yes" if check.passed else "ask" if check.rule.alarm else "no",
            "words": check.words("the challenger"),
            "limit": _limit(check),
            "measured": _amount(check, check.value),
        }
        for check in checks
    ]
    return sorted(rows, key=lambda row: row["verdict"] == "yes")


def _limit(check: Check) -> str:
    if check.limit is None or check.rule.side is None:
        return DASH
    return f"{SIDES[check.rule.side]} {_amount(check, check.limit)}"


def _amount(check: Check, amount: float | None) -> str:
    if amount is None:
        return DASH
    if check.rule.unit == "bytes":
        return f"{amount / 1e6:,.1f} MB"
    if check.rule.unit == "ms":
        return f"{amount:.1f} ms"
    return f"{amount:,}" if isinstance(amount, int) else value_text(amount)


def ranked(evidence: ComparisonEvidence) -> list[ModelEvidence]:
    """Return the challengers: the winner first, if any, then by the deciding figure, best first."""
    primary = evidence.gate.primary

    def rank(model: ModelEvidence) -> tuple[bool, float]:
        found = evidence.decision.figures.get(model.metadata.model_version)
        value = found["metrics"][primary]["value"] if found else None
        return model.metadata.model_version != evidence.decision.winner, -(value if value is not None else -1.0)

    return sorted(evidence.challengers, key=rank)


def names(evidence: ComparisonEvidence) -> list[tuple[str, ModelEvidence]]:
    """Return the models with their display names: Champion, Challenger, or Challenger A, B and so on."""
    challengers = ranked(evidence)
    several = len(challengers) > 1
    called = [
        f"Challenger {ascii_uppercase[place % 26]}" if several else "Challenger" for place in range(len(challengers))
    ]
    first = [("Champion", evidence.champion)] if evidence.champion else []
    return [*first, *zip(called, challengers, strict=True)]
