"""The gate's checks, one function for each rule. Each says what it found as words that can follow "Y stays: "."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from models.evaluation.metrics import HEADLINES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.evaluation.test_set import TestSet
    from models.gate.rules import Gate

    Spread = Mapping[str, float | None]
    """A figure with its interval: value, low, high; of a difference also champion and challenger."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule held against one challenger."""

    name: str
    """`gain`, `sensitivity of NORMAL`, ...: the rule, and what it is about."""
    passed: bool
    value: float | None
    limit: float | None
    words: str

    def to_dict(self) -> dict[str, Any]:
        """The check as JSON-ready values."""
        return asdict(self)


def evidence(gate: Gate, test: TestSet) -> list[Check]:
    """Whether the test set is large enough to decide anything."""
    patients = len(set(test.patients))
    checks = [
        _enough("test images", len(test), gate.minimum_images, f"{_many(len(test), 'test image')}"),
        _enough("test patients", patients, gate.minimum_patients, f"test images of {_many(patients, 'patient')}"),
    ]
    for index, name in enumerate(test.classes):
        chosen = test.labels == index
        images, people = int(chosen.sum()), test.patients_of(chosen)
        checks += [
            _enough(
                f"test images of {name}",
                images,
                gate.minimum_images_per_class,
                _many(images, f"test image of {name}", f"test images of {name}"),
            ),
            _enough(
                f"test patients with {name}",
                people,
                gate.minimum_patients_per_class,
                f"test images of {_many(people, 'patient')} with {name}",
            ),
        ]
    return checks


def gain(gate: Gate, subject: str, found: Spread, level: float, challengers: int) -> Check:
    """The primary rule: the lower bound of the paired difference lies above the minimum gain."""
    metric = HEADLINES[gate.primary]
    value, low = found["value"], found["low"]
    if value is None or low is None:
        return Check("gain", passed=False, value=None, limit=gate.minimum_gain, words=f"{metric} is undefined here")
    spread = spread_words(found, level, challengers)
    if value < 0:
        words = f"{subject} is worse, {metric} {_of(found)}, a loss of {-value:.3f} ({spread})"
    elif low > gate.minimum_gain:
        words = f"{subject} gains {value:.3f} in {metric} ({spread})"
    elif gate.minimum_gain == 0 or low <= 0:
        words = f"{subject} gains {value:.3f} in {metric} ({spread}), which may be chance"
    else:
        words = f"{subject} gains {value:.3f} in {metric} ({spread}), and more than {gate.minimum_gain:.3f} is not sure"
    return Check("gain", passed=low > gate.minimum_gain, value=low, limit=gate.minimum_gain, words=words)


def sensitivity(gate: Gate, subject: str, name: str, found: Spread, gained: float | None) -> list[Check]:
    """The guardrail of one class: no visible fall, and no large one that the images leave possible.

    Args:
        gate: the rules.
        subject: the challenger's name.
        name: of the class.
        found: paired difference in its sensitivity.
        gained: in the primary metric.
    """
    value, low = found["value"], found["low"]
    fall, margin = -gate.sensitivity_fall, -gate.sensitivity_margin
    rule, doubt = f"sensitivity of {name}", f"possible fall of sensitivity of {name}"
    if value is None or low is None:
        return [Check(rule, passed=False, value=None, limit=fall, words=f"the sensitivity of {name} is undefined here")]
    better = f"{subject} is better on average (+{gained:.3f}) but" if gained and gained > 0 else subject
    seen = value >= fall - 1e-9
    sure = low > margin
    return [
        Check(
            rule,
            passed=seen,
            value=value,
            limit=fall,
            words=f"{subject} finds as much {name} (sensitivity {_of(found)})"
            if seen
            else f"{better} finds less {name} (sensitivity {_of(found)})",
        ),
        Check(
            doubt,
            passed=sure,
            value=low,
            limit=margin,
            words=f"{subject} does not find {name} less often by {-margin:.2f} or more (sensitivity {_of(found)}, "
            f"at worst {low:+.3f}{': the models agree on all its images' if low == found['high'] else ''})"
            if sure
            else f"{better} might find less {name} (sensitivity {_of(found)}, at worst {low:+.3f}): a fall of "
            f"{-margin:.2f} cannot be ruled out",
        ),
    ]


def floors(gate: Gate, subject: str, figures: Mapping[str, Any]) -> list[Check]:
    """Absolute values that every model must reach with the lower end of its intervals."""
    strays = sorted(set(gate.sensitivity_floors) - set(figures["per_class"]))
    checks = [
        Check(
            f"floor of the sensitivity of {name}",
            passed=False,
            value=None,
            limit=gate.sensitivity_floors[name],
            words=f"the gate has a floor for {name}, which is no class of the test set",
        )
        for name in strays
    ]
    asked = [(HEADLINES[name], figures["metrics"][name], floor) for name, floor in gate.floors.items()]
    asked += [
        (f"sensitivity of {name}", row["sensitivity"], gate.sensitivity_floors.get(name, gate.sensitivity_floor))
        for name, row in figures["per_class"].items()
    ]
    for what, found, floor in asked:
        value, low = found["value"], found["low"]
        passed = low is not None and low >= floor
        at = "undefined" if value is None else f"{value:.3f} ({spread_words(found, figures['level'])})"
        words = f"{subject} has a {what} of {at}" + ("" if passed else f", and must surely reach {floor:.2f}")
        checks.append(Check(f"floor of the {what}", passed=passed, value=low, limit=floor, words=words))
    return checks


def audit(gate: Gate, subject: str, baseline: str, found: Spread, level: float) -> list[Check]:
    """The shortcut audit: the model must clearly beat a baseline that cannot see the disease.

    Args:
        gate: the rules.
        subject: the challenger's name.
        baseline: what the baseline sees.
        found: paired difference in the primary metric, model minus baseline.
        level: of its interval.
    """
    rule, margin = f"shortcut audit: {baseline}", gate.audit_margin
    metric, value, low = HEADLINES[gate.primary], found["value"], found["low"]
    if low is None or value is None:
        return [Check(rule, passed=False, value=None, limit=margin, words=f"{metric} is undefined here")]
    words = (
        f"{subject} {{}} a baseline that sees only {baseline} ({metric} {found['challenger']:.3f} against "
        f"{found['champion']:.3f}, {spread_words(found, level)} of the difference)"
    )
    clearly, surely = value > margin, low > 0
    return [
        Check(
            rule,
            passed=clearly,
            value=value,
            limit=margin,
            words=words.format(
                "is clearly better than" if clearly else f"is not clearly better (by {margin:.2f}) than"
            ),
        ),
        Check(
            f"{rule}, surely",
            passed=surely,
            value=low,
            limit=0.0,
            words=words.format("is surely better than" if surely else "is not surely better than"),
        ),
    ]


def calibration(gate: Gate, subject: str, error: float | None, champion: float | None) -> list[Check]:
    """Expected calibration error: bounded, and not much above the champion's (None: there is no champion)."""
    limit = gate.maximum_calibration_error
    said = f"the probabilities of {subject} are off by {error or 0:.3f} on average"
    checks = [_most("calibration", error, limit, f"{said}, {limit:.3f} is allowed")]
    if champion is not None:
        limit = champion + gate.calibration_fall
        checks.append(
            _most("calibration beside the champion", error, limit, f"{said}, those of the champion by {champion:.3f}")
        )
    return checks


def cost(gate: Gate, subject: str, milliseconds: float, size: int, champion_ms: float | None) -> list[Check]:
    """Time for an image and size of the artifact (champion_ms None: there is no champion)."""
    said = f"{subject} needs {milliseconds:.1f} ms for an image"
    checks = [
        _most("latency", milliseconds, gate.maximum_latency_ms, f"{said}, {gate.maximum_latency_ms:.0f} ms are allowed")
    ]
    if champion_ms is not None:
        limit = max(gate.latency_factor * champion_ms, gate.always_fast_ms)
        checks.append(
            _most(
                "latency beside the champion",
                milliseconds,
                limit,
                f"{said}, the champion {champion_ms:.1f} ms; {limit:.1f} ms are allowed",
            )
        )
    words = f"{subject} is {size / 1e6:.1f} MB large, {gate.maximum_bytes / 1e6:.0f} MB are allowed"
    return [*checks, _most("size", size, gate.maximum_bytes, words)]


def too_good(gate: Gate, subject: str, accuracy: float | None, gained: float | None) -> list[Check]:
    """The alarm: figures that a leak explains better than a good model does."""
    checks = [
        _most(
            "too good to be true",
            accuracy,
            gate.too_good_accuracy,
            f"{subject} has an accuracy of {accuracy or 0:.3f}",
            below=True,
        )
    ]
    if gained is not None:
        words = f"{subject} gains {gained:.3f} in {HEADLINES[gate.primary]}"
        checks.append(_most("too good a gain to be true", gained, gate.too_good_gain, words))
    return checks


def level_words(level: float) -> str:
    """95 %, 98.3 %."""
    return f"{100 * level:.3g} %"


def spread_words(found: Spread, level: float, challengers: int = 1) -> str:
    """An interval in words, with the reason where it is wider than asked."""
    if found["low"] is None or found["high"] is None:
        return "interval unknown"
    why = f", wider because {challengers} challengers were tried" if challengers > 1 else ""
    return f"{level_words(level)} interval {found['low']:.3f} to {found['high']:.3f}{why}"


def _of(found: Spread) -> str:
    return f"{found['challenger']:.3f} instead of {found['champion']:.3f}"


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def _enough(rule: str, value: int, limit: int, words: str) -> Check:
    passed = value >= limit
    words += "" if passed else f" {'is' if words.startswith('1 ') else 'are'} too few to decide ({limit} are needed)"
    return Check(rule, passed=passed, value=value, limit=limit, words=words)


def _most(rule: str, value: float | None, limit: float, words: str, *, below: bool = False) -> Check:
    if value is None or not math.isfinite(value):
        return Check(rule, passed=False, value=None, limit=limit, words=words)
    passed = value < limit if below else value <= limit
    return Check(rule, passed=passed, value=value, limit=limit, words=words)
