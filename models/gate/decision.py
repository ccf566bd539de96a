"""The gate: does a challenger replace the champion? Pure: the same answers give the same decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from models.evaluation.comparison import metric_difference, paired_differences
from models.evaluation.metrics import HEADLINE_METRICS
from models.evaluation.test_set import evaluate_predictions, figures_with_intervals, find_fault
from models.gate import checks
from models.gate.checks import Check
from models.gate.rules import DEFAULT, Gate, GateError, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from models.evaluation.test_set import EvaluatedAnswers, TestSet

__all__ = ["DEFAULT", "Check", "Contender", "Decision", "Gate", "GateError", "decide", "read"]

GateOutcome = Literal["promote", "keep", "ask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A model and its answers to the test set."""

    model_version: str
    model_sha256: str
    probabilities: NDArray[np.float32]
    """(n, classes), in the order of the test set's images and classes."""
    milliseconds: float
    """Per image, median over batches of 32, measured in the same run as the other contenders'."""
    artifact_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the gate decided, and everything it considered."""

    outcome: GateOutcome
    """ask: it passed, but its figures are too good to be true, so a person must decide."""
    winner: str | None
    """Model version; None where the champion stays."""
    sentence: str
    because: str
    """The reason alone: the clause of `sentence` after the colon, without a full stop."""
    checks: dict[str, list[Check]]
    """By the challenger's model version, in the order in which they explain a decision."""
    figures: dict[str, dict[str, Any]]
    """By model version, champion included: `models.evaluation.test_set.figures_with_intervals`."""
    comparisons: dict[str, dict[str, Any]]
    """By challenger's model version: `models.evaluation.comparison.paired_differences`; empty without a champion."""
    baselines: dict[str, dict[str, Any]]
    """Each shortcut baseline's figures, by what the baseline sees."""

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON-ready values, without NaN."""
        return {
            "outcome": self.outcome,
            "winner": self.winner,
            "sentence": self.sentence,
            "because": self.because,
            "checks": {name: [check.to_dict(name) for check in found] for name, found in self.checks.items()},
            "figures": self.figures,
            "comparisons": self.comparisons,
            "baselines": self.baselines,
        }


@dataclass(frozen=True, slots=True)
class _Judged:
    """A challenger with the results of all rules."""

    contender: Contender
    checks: list[Check]
    alarms: list[Check]
    rank: tuple[float, float]
    """Lower bound and value of the gain in the primary metric; without a champion, of the metric itself."""

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.passed]

    @property
    def alarmed(self) -> list[Check]:
        return [check for check in self.alarms if not check.passed]


def decide(
    gate: Gate,
    test: TestSet,
    champion: Contender | None,
    challengers: Sequence[Contender],
    baselines: Mapping[str, NDArray[np.floating[Any]]],
) -> Decision:
    """Compare challengers with the champion and apply the rules. Of several that pass, the highest lower bound wins.

    Args:
        gate: the rules.
        test: the frozen test set.
        champion: None if there is none yet; then only evidence, floors, audit and bounds decide.
        challengers: the models that answered; may be empty.
        baselines: answers (n, classes) of the shortcut audit's baselines, by what they see ("the image's border").

    Raises:
        GateError: the answers of the champion or of a baseline do not fit the test set, or two challengers share a
            version.
    """
    names = [given.model_version for given in challengers]
    if len(set(names)) < len(names):
        raise GateError("each challenger has a model version of its own")
    for what, given in [("the champion", champion.probabilities)] if champion else []:
        _refuse_faulty(test, what, given)
    for what, given in baselines.items():
        _refuse_faulty(test, f"the baseline that sees only {what}", given)

    def answered(probabilities: NDArray[np.floating[Any]]) -> EvaluatedAnswers:
        return evaluate_predictions(test, probabilities, resamples=gate.resamples, seed=gate.seed)

    reigning = answered(champion.probabilities) if champion else None
    shortcuts = {what: answered(given) for what, given in baselines.items()}
    figures: dict[str, dict[str, Any]] = {}
    if champion and reigning:
        figures[champion.model_version] = figures_with_intervals(reigning, level=gate.level)
    level = gate.level_for(len(challengers))
    comparisons: dict[str, dict[str, Any]] = {}
    judged = []
    for contender in challengers:
        fault = find_fault(test, contender.probabilities)
        if fault is not None:
            judged.append(_Judged(contender, [_fault(fault)], [], (float("-inf"),) * 2))
            continue
        replies = answered(contender.probabilities)
        mine = figures_with_intervals(replies, level=gate.level)
        versus = paired_differences(reigning, replies, level=level) if reigning else None
        audited = {what: metric_difference(other, replies, gate.primary, level) for what, other in shortcuts.items()}
        judged.append(_judge(gate, test, champion, contender, mine, versus, audited, len(challengers)))
        figures.setdefault(contender.model_version, mine)
        if versus is not None:
            comparisons[contender.model_version] = versus
    outcome, winner, because = _conclude(gate, test, champion, judged, figures, comparisons)
    return Decision(
        outcome=outcome,
        winner=winner,
        sentence=_sentence(outcome, winner, champion, because),
        because=because,
        checks={one.contender.model_version: [*one.checks, *one.alarms] for one in judged},
        figures=figures,
        comparisons=comparisons,
        baselines={what: figures_with_intervals(given, level=gate.level) for what, given in shortcuts.items()},
    )


def _judge(
    gate: Gate,
    test: TestSet,
    champion: Contender | None,
    contender: Contender,
    mine: dict[str, Any],
    versus: dict[str, Any] | None,
    audited: dict[str, dict[str, float | None]],
    challengers: int,
) -> _Judged:
    """Apply every rule, in the order in which they explain a decision."""
    level = gate.level_for(challengers)
    found = checks.evidence(gate, test)
    gained = None
    if champion is not None and versus is not None:
        difference = versus["metrics"][gate.primary]
        gained = difference["value"]
        found = [
            _other_than(champion, contender),
            *found,
            checks.gain(gate, difference, level, challengers),
            *(
                check
                for name, row in versus["per_class"].items()
                for check in checks.sensitivity(gate, name, row["sensitivity"], gained)
            ),
        ]
    ece = versus["metrics"]["ece"]["champion"] if versus else None
    found += [
        *(check for what, difference in audited.items() for check in checks.audit(gate, what, difference, level)),
        *checks.floors(gate, mine),
        *checks.calibration(gate, mine["metrics"]["ece"]["value"], ece),
        *checks.cost(
            gate, contender.milliseconds, contender.artifact_bytes, champion.milliseconds if champion else None
        ),
    ]
    alarms = checks.too_good(gate, mine["metrics"]["accuracy"]["value"], gained)
    ranked = versus["metrics"][gate.primary] if versus else mine["metrics"][gate.primary]
    rank = tuple(float("-inf") if ranked[name] is None else ranked[name] for name in ("low", "value"))
    return _Judged(contender, found, alarms, (rank[0], rank[1]))


def _conclude(
    gate: Gate,
    test: TestSet,
    champion: Contender | None,
    judged: list[_Judged],
    figures: dict[str, dict[str, Any]],
    comparisons: dict[str, dict[str, Any]],
) -> tuple[GateOutcome, str | None, str]:
    """Return the outcome, the winner, and the clause that says why."""
    if not judged:
        return "keep", None, "there was no challenger to compare"
    passed = [one for one in judged if not one.failed]
    if not passed:
        # The challenger that passed most checks before its first failure explains the decision best.
        best = max(judged, key=lambda one: (one.checks.index(one.failed[0]), one.rank))
        words = best.failed[0].words(best.contender.model_version)
        return "keep", None, f"{words}{_others(best, len(judged))}"
    best = max(passed, key=lambda one: one.rank)
    version, metric = best.contender.model_version, HEADLINE_METRICS[gate.primary]
    where = f"on {len(test)} test images of {len(set(test.patients))} patients"
    mine = figures[version]["metrics"][gate.primary]
    if champion is None:
        spread = checks.spread_words(mine, gate.level)
        because = f"{metric} {mine['value']:.3f} ({spread}) {where}, and there was no champion yet"
    else:
        found = comparisons[version]["metrics"][gate.primary]
        spread = checks.spread_words(found, gate.level_for(len(judged)), len(judged))
        because = (
            f"{metric} {found['challenger']:.3f} against {found['champion']:.3f} of {champion.model_version}, "
            f"a gain of {found['value']:.3f} ({spread}) {where}"
        )
    return "ask" if best.alarmed else "promote", version, because


def _sentence(outcome: GateOutcome, winner: str | None, champion: Contender | None, because: str) -> str:
    if outcome == "promote":
        return f"Promoted {winner}: {because}."
    if outcome == "ask":
        return f"A person must look before {winner} is promoted, for it is too good to be true: {because}."
    return f"{f'{champion.model_version} stays' if champion else 'No model is promoted'}: {because}."


def _others(best: _Judged, challengers: int) -> str:
    if challengers == 1 or best.failed[0].rule.about_test_set:
        return ""
    rest = "the other challenger" if challengers == 2 else f"the other {challengers - 1} challengers"  # noqa: PLR2004 - one
    return f"; {rest} did not pass either"


def _other_than(champion: Contender, contender: Contender) -> Check:
    same = contender.model_sha256 == champion.model_sha256
    found = f"{checks.SUBJECT} is {'the champion itself' if same else 'another model than the champion'}"
    return Check(rule=checks.ANOTHER_MODEL, passed=not same, found=found)


def _fault(fault: str) -> Check:
    found = f"{checks.SUBJECT} gave no answers that can be judged: {fault}"
    return Check(rule=checks.ANSWERS, passed=False, found=found)


def _refuse_faulty(test: TestSet, what: str, probabilities: NDArray[np.floating[Any]]) -> None:
    fault = find_fault(test, probabilities)
    if fault is not None:
        raise GateError(f"{what} cannot be judged: {fault}")
