"""The gate's checks, one function per group of rules. A finding is a clause that can follow "Y stays: "."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from models.evaluation.metrics import HEADLINE_METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from models.evaluation.test_set import TestSet
    from models.gate.rules import Gate

    Spread = Mapping[str, float | None]
    """A figure with its interval: value, low, high; a paired difference also has champion and challenger."""

Side = Literal["at least", "above", "at most", "below"]
Unit = Literal["images", "patients", "ms", "bytes"]

HOLDS: Final[Mapping[Side, Callable[[float, float], bool]]] = {
    "at least": operator.ge, "above": operator.gt, "at most": operator.le, "below": operator.lt,
}  # fmt: skip
SUBJECT: Final = "{challenger}"
"""Placeholder for the challenger in a finding; its name depends on where the finding is shown."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One requirement that a challenger must meet."""

    kind: str
    name: str | None = None
    """Shown to people, with {} for the class, figure or baseline. None: `kind` is shown."""
    side: Side | None = None
    """On which side of its limit a value must lie. None: there is no limit."""
    unit: Unit | None = None
    """Unit of the value and its limit."""
    alarm: bool = False
    """If it is not met, a person must decide; the champion does not simply stay."""
    about_test_set: bool = False
    """The finding is the same for all challengers."""

    def allows(self, value: float, limit: float) -> bool:
        """Whether a value is on the right side of a limit."""
        return self.side is None or HOLDS[self.side](value, limit)


ANSWERS: Final = Rule("answers")
ANOTHER_MODEL: Final = Rule("another model")
TEST_IMAGES: Final = Rule("test images", None, "at least", "images", about_test_set=True)
TEST_PATIENTS: Final = Rule("test patients", None, "at least", "patients", about_test_set=True)
CLASS_IMAGES: Final = Rule("test images of a class", "test images of {}", "at least", "images", about_test_set=True)
CLASS_PATIENTS: Final = Rule(
    "test patients of a class", "test patients with {}", "at least", "patients", about_test_set=True
)
GAIN: Final = Rule("gain", None, "above")
SENSITIVITY: Final = Rule("sensitivity", "sensitivity of {}", "at least")
POSSIBLE_FALL: Final = Rule("possible fall of sensitivity", "possible fall of sensitivity of {}", "above")
AUDIT: Final = Rule("shortcut audit", "shortcut audit: {}", "above")
AUDIT_SURELY: Final = Rule("shortcut audit, surely", "shortcut audit: {}, surely", "above")
FLOOR: Final = Rule("floor", "floor of the {}", "at least")
SENSITIVITY_FLOOR: Final = Rule("floor of the sensitivity", "floor of the sensitivity of {}", "at least")
CALIBRATION: Final = Rule("calibration", None, "at most")
CALIBRATION_VS_CHAMPION: Final = Rule("calibration beside the champion", None, "at most")
LATENCY: Final = Rule("latency", None, "at most", "ms")
LATENCY_VS_CHAMPION: Final = Rule("latency beside the champion", None, "at most", "ms")
SIZE: Final = Rule("size", None, "at most", "bytes")
TOO_GOOD: Final = Rule("too good to be true", None, "below", alarm=True)
TOO_GOOD_GAIN: Final = Rule("too good a gain to be true", None, "at most", alarm=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one rule for one challenger."""

    rule: Rule
    about: str | None = None
    """The class, figure or baseline that the rule applies to, if any."""
    passed: bool
    value: float | None = None
    limit: float | None = None
    found: str
    """The finding: a clause with `SUBJECT` in place of the challenger's name."""

    @property
    def name(self) -> str:
        """The rule and what it applies to: `gain`, `sensitivity of NORMAL`, ..."""
        return (self.rule.name or self.rule.kind).format(self.about)

    def words(self, challenger: str) -> str:
        """The finding, as a clause about a challenger of this name."""
        return self.found.replace(SUBJECT, challenger)

    def to_dict(self, challenger: str) -> dict[str, Any]:
        """The check as JSON-ready values; its words name the challenger as given."""
        return {
            "name": self.name,
            "passed": self.passed,
            "value": self.value,
            "limit": self.limit,
            "words": self.words(challenger),
            "rule": self.rule.kind,
            "about": self.about,
            "side": self.rule.side,
            "unit": self.rule.unit,
            "alarm": self.rule.alarm,
        }


def evidence(gate: Gate, test: TestSet) -> list[Check]:
    """Check that the test set is large enough for a decision."""
    patients = len(set(test.patients))
    checks = [
        _enough(
            TEST_IMAGES, None, len(test), gate.minimum_images, _many(len(test), "test image"), single=len(test) == 1
        ),
        _enough(TEST_PATIENTS, None, patients, gate.minimum_patients, f"test images of {_many(patients, 'patient')}"),
    ]
    for index, name in enumerate(test.classes):
        chosen = test.labels == index
        images, people = int(chosen.sum()), test.patients_of(chosen)
        checks += [
            _enough(
                CLASS_IMAGES,
                name,
                images,
                gate.minimum_images_per_class,
                _many(images, f"test image of {name}", f"test images of {name}"),
                single=images == 1,
            ),
            _enough(
                CLASS_PATIENTS,
                name,
                people,
                gate.minimum_patients_per_class,
                f"test images of {_many(people, 'patient')} with {name}",
            ),
        ]
    return checks


def gain(gate: Gate, found: Spread, level: float, challengers: int) -> Check:
    """The primary rule: the lower bound of the paired difference must be above the minimum gain."""
    metric = HEADLINE_METRICS[gate.primary]
    value, low = found["value"], found["low"]
    if value is None or low is None:
        return Check(rule=GAIN, passed=False, limit=gate.minimum_gain, found=f"{metric} is undefined here")
    spread = spread_words(found, level, challengers)
    passed = GAIN.allows(low, gate.minimum_gain)
    if value < 0:
        words = f"{SUBJECT} is worse, {metric} {_of(found)}, a loss of {-value:.3f} ({spread})"
    elif passed:
        words = f"{SUBJECT} gains {value:.3f} in {metric} ({spread})"
    elif gate.minimum_gain == 0 or low <= 0:
        words = f"{SUBJECT} gains {value:.3f} in {metric} ({spread}), which may be chance"
    else:
        words = f"{SUBJECT} gains {value:.3f} in {metric} ({spread}), and more than {gate.minimum_gain:.3f} is not sure"
    return Check(rule=GAIN, passed=passed, value=low, limit=gate.minimum_gain, found=words)


def sensitivity(gate: Gate, name: str, found: Spread, gained: float | None) -> list[Check]:
    """The guardrail for one class: no measured fall in sensitivity, and no large fall that the interval still allows.

    Args:
        gate: the rules.
        name: the class.
        found: paired difference in its sensitivity.
        gained: gain in the primary metric.
    """
    value, low = found["value"], found["low"]
    fall, margin = -gate.sensitivity_fall, -gate.sensitivity_margin
    if value is None or low is None:
        undefined = f"the sensitivity of {name} is undefined here"
        return [Check(rule=SENSITIVITY, about=name, passed=False, limit=fall, found=undefined)]
    better = f"{SUBJECT} is better on average (+{gained:.3f}) but" if gained and gained > 0 else SUBJECT
    seen = SENSITIVITY.allows(value, fall - 1e-9)
    sure = POSSIBLE_FALL.allows(low, margin)
    return [
        Check(
            rule=SENSITIVITY,
            about=name,
            passed=seen,
            value=value,
            limit=fall,
            found=f"{SUBJECT} finds as much {name} (sensitivity {_of(found)})"
            if seen
            else f"{better} finds less {name} (sensitivity {_of(found)})",
        ),
        Check(
            rule=POSSIBLE_FALL,
            about=name,
            passed=sure,
            value=low,
            limit=margin,
            found=f"{SUBJECT} does not find {name} less often by {-margin:.2f} or more (sensitivity {_of(found)}, "
            f"at worst {low:+.3f}{': the models agree on all its images' if low == found['high'] else ''})"
            if sure
            else f"{better} might find less {name} (sensitivity {_of(found)}, at worst {low:+.3f}): a fall of "
            f"{-margin:.2f} cannot be ruled out",
        ),
    ]


def floors(gate: Gate, figures: Mapping[str, Any]) -> list[Check]:
    """Absolute floors: the lower bound of each interval must reach them, whatever the champion does."""
    checks = [
        Check(
            rule=SENSITIVITY_FLOOR,
            about=name,
            passed=False,
            limit=gate.sensitivity_floors[name],
            found=f"the gate has a floor for {name}, which is no class of the test set",
        )
        for name in sorted(set(gate.sensitivity_floors) - set(figures["per_class"]))
    ]
    checks += [
        _floor(FLOOR, HEADLINE_METRICS[name], HEADLINE_METRICS[name], figures["metrics"][name], floor, figures["level"])
        for name, floor in gate.floors.items()
    ]
    for name, row in figures["per_class"].items():
        floor = gate.sensitivity_floors.get(name, gate.sensitivity_floor)
        what = f"sensitivity of {name}"
        checks.append(_floor(SENSITIVITY_FLOOR, name, what, row["sensitivity"], floor, figures["level"]))
    return checks


def _floor(rule: Rule, about: str, what: str, found: Spread, floor: float, level: float) -> Check:
    value, low = found["value"], found["low"]
    passed = low is not None and rule.allows(low, floor)
    at = "undefined" if value is None else f"{value:.3f} ({spread_words(found, level)})"
    words = f"{SUBJECT} has a {what} of {at}" + ("" if passed else f", and must surely reach {floor:.2f}")
    return Check(rule=rule, about=about, passed=passed, value=low, limit=floor, found=words)


def audit(gate: Gate, baseline: str, found: Spread, level: float) -> list[Check]:
    """The shortcut audit: the model must clearly beat a baseline that cannot see the disease.

    Args:
        gate: the rules.
        baseline: what the baseline sees.
        found: paired difference in the primary metric, model minus baseline.
        level: confidence level of its interval.
    """
    metric, value, low = HEADLINE_METRICS[gate.primary], found["value"], found["low"]
    if low is None or value is None:
        undefined = f"{metric} is undefined here"
        return [Check(rule=AUDIT, about=baseline, passed=False, limit=gate.audit_margin, found=undefined)]
    than = (
        f"a baseline that sees only {baseline} ({metric} {found['challenger']:.3f} against "
        f"{found['champion']:.3f}, {spread_words(found, level)} of the difference)"
    )
    clearly, surely = AUDIT.allows(value, gate.audit_margin), AUDIT_SURELY.allows(low, 0.0)
    how = "is clearly better than" if clearly else f"is not clearly better (by {gate.audit_margin:.2f}) than"
    sure = "is surely better than" if surely else "is not surely better than"
    return [
        Check(
            rule=AUDIT, about=baseline, passed=clearly, value=value, limit=gate.audit_margin,
            found=f"{SUBJECT} {how} {than}",
        ),
        Check(
            rule=AUDIT_SURELY, about=baseline, passed=surely, value=low, limit=0.0, found=f"{SUBJECT} {sure} {than}"
        ),
    ]  # fmt: skip


def calibration(gate: Gate, error: float | None, champion: float | None) -> list[Check]:
    """Expected calibration error: bounded, and not far above the champion's (None: there is no champion)."""
    limit = gate.maximum_calibration_error
    measured = f"the probabilities of {SUBJECT} are off by {error or 0:.3f} on average"
    checks = [_bounded(CALIBRATION, error, limit, f"{measured}, {limit:.3f} is allowed")]
    if champion is not None:
        limit = champion + gate.calibration_fall
        checks.append(
            _bounded(CALIBRATION_VS_CHAMPION, error, limit, f"{measured}, those of the champion by {champion:.3f}")
        )
    return checks


def cost(gate: Gate, milliseconds: float, size: int, champion_ms: float | None) -> list[Check]:
    """Milliseconds per image and bytes of the artifact (champion_ms None: there is no champion)."""
    measured = f"{SUBJECT} needs {milliseconds:.1f} ms for an image"
    checks = [
        _bounded(
            LATENCY, milliseconds, gate.maximum_latency_ms, f"{measured}, {gate.maximum_latency_ms:.0f} ms are allowed"
        )
    ]
    if champion_ms is not None:
        limit = max(gate.latency_factor * champion_ms, gate.always_fast_ms)
        checks.append(
            _bounded(
                LATENCY_VS_CHAMPION,
                milliseconds,
                limit,
                f"{measured}, the champion {champion_ms:.1f} ms; {limit:.1f} ms are allowed",
            )
        )
    words = f"{SUBJECT} is {size / 1e6:.1f} MB large, {gate.maximum_bytes / 1e6:.0f} MB are allowed"
    return [*checks, _bounded(SIZE, size, gate.maximum_bytes, words)]


def too_good(gate: Gate, accuracy: float | None, gained: float | None) -> list[Check]:
    """The alarms: figures so good that a data leak is the likelier explanation."""
    words = f"{SUBJECT} has an accuracy of {accuracy or 0:.3f}"
    checks = [_bounded(TOO_GOOD, accuracy, gate.too_good_accuracy, words)]
    if gained is not None:
        words = f"{SUBJECT} gains {gained:.3f} in {HEADLINE_METRICS[gate.primary]}"
        checks.append(_bounded(TOO_GOOD_GAIN, gained, gate.too_good_gain, words))
    return checks


def level_words(level: float) -> str:
    """Return a confidence level as text: 95 %, 98.3 %."""
    return f"{100 * level:.3g} %"


def spread_words(found: Spread, level: float, challengers: int = 1) -> str:
    """Return an interval in words, with the reason if several challengers widen it."""
    if found["low"] is None or found["high"] is None:
        return "interval unknown"
    why = f", wider because {challengers} challengers were tried" if challengers > 1 else ""
    return f"{level_words(level)} interval {found['low']:.3f} to {found['high']:.3f}{why}"


def _of(found: Spread) -> str:
    return f"{found['challenger']:.3f} instead of {found['champion']:.3f}"


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def _enough(rule: Rule, about: str | None, value: int, limit: int, words: str, *, single: bool = False) -> Check:
    """Check that there are enough of what `words` counts; `single` chooses the verb's number."""
    passed = rule.allows(value, limit)
    words += "" if passed else f" {'is' if single else 'are'} too few to decide ({limit} are needed)"
    return Check(rule=rule, about=about, passed=passed, value=value, limit=limit, found=words)


def _bounded(rule: Rule, value: float | None, limit: float, words: str) -> Check:
    if value is None or not math.isfinite(value):
        return Check(rule=rule, passed=False, limit=limit, found=words)
    return Check(rule=rule, passed=rule.allows(value, limit), value=value, limit=limit, found=words)
