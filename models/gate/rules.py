"""The gate's rules as data: what a challenger must show before it replaces the champion.

docs/gate.md explains the rules and the reasons for them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Self

from models.evaluation.metrics import HEADLINE_METRICS, LOWER_IS_BETTER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PRIMARIES: Final = tuple(name for name in HEADLINE_METRICS if name not in LOWER_IS_BETTER)
LEAST_LEVEL: Final = 0.5
AT_MOST_1: Final = ("minimum_gain", "sensitivity_floor", "audit_margin")
AT_LEAST_1: Final = ("minimum_images", "minimum_patients", "minimum_images_per_class", "minimum_patients_per_class")


class GateError(ValueError):
    """The rules cannot be read, or do not fit the data they are applied to; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One set of rules, stored with every decision made by it.

    Raises:
        GateError: a value is of the wrong kind or out of range.
    """

    name: str = "default"
    version: int = 1

    primary: str = "balanced_accuracy"
    """The metric in which a challenger must beat the champion. Balanced accuracy measures the predicted class, which is
    what analysts see, and gives a rare class the same weight as a common one."""
    minimum_gain: float = 0.0
    """The lower bound of the paired difference in the primary metric must be above this."""
    level: float = 0.95
    """Confidence level of the two-sided intervals, before the correction for several challengers."""
    resamples: int = 2000
    seed: int = 0

    minimum_images: int = 100
    minimum_patients: int = 50
    minimum_images_per_class: int = 10
    minimum_patients_per_class: int = 10
    """Below any of these four minimums there is not enough evidence, and the champion stays."""

    sensitivity_fall: float = 0.02
    """The largest measured fall in any class's sensitivity that is accepted."""
    sensitivity_margin: float = 0.10
    """The non-inferiority margin: the lower bound of the paired difference in each class's sensitivity must be above
    minus this."""
    maximum_calibration_error: float = 0.15
    calibration_fall: float = 0.05
    """The expected calibration error may exceed the champion's by at most this."""
    latency_factor: float = 3.0
    """The time per image may be at most this many times the champion's ..."""
    always_fast_ms: float = 20.0
    """... but a model this fast is never too slow: 100,000 images take 33 minutes."""
    maximum_latency_ms: float = 200.0
    """Upper bound for every model: 10,000 images take 33 minutes."""
    maximum_bytes: int = 500_000_000
    """Upper bound on the artifact's size."""

    floors: Mapping[str, float] = field(default_factory=lambda: {"balanced_accuracy": 0.6})
    """{metric: value that the lower bound of its interval must reach}."""
    sensitivity_floor: float = 0.4
    """The lower bound of each class's sensitivity must reach this."""
    sensitivity_floors: Mapping[str, float] = field(default_factory=dict)
    """{class: floor}, for classes whose floor differs from `sensitivity_floor`."""

    audit_margin: float = 0.05
    """A model must beat each shortcut baseline by more than this in the primary metric, and the lower bound of the
    paired difference must be above 0."""

    too_good_accuracy: float = 0.995
    too_good_gain: float = 0.25
    """An accuracy this high, or a gain in the primary metric above this, is left to a person: a leak is likelier."""

    def __post_init__(self) -> None:
        for rule in fields(self):
            _check_kind(rule.name, rule.type, getattr(self, rule.name))
        if self.primary not in PRIMARIES:
            raise GateError(f"the gate's primary metric is one of {', '.join(PRIMARIES)}, not {self.primary!r}")
        if not LEAST_LEVEL < self.level < 1:
            raise GateError(f"the gate's level lies between {LEAST_LEVEL} and 1, not at {self.level}")
        shares = {name: getattr(self, name) for name in AT_MOST_1} | {
            f"{name} {key}": value
            for name in ("floors", "sensitivity_floors")
            for key, value in getattr(self, name).items()
        }
        if impossible := [f"{name} ({value:g})" for name, value in shares.items() if value > 1]:
            raise GateError(
                f"nothing could ever pass these rules of the gate, which must not be above 1: {', '.join(impossible)}"
            )
        if none := [name for name in AT_LEAST_1 if getattr(self, name) < 1]:
            raise GateError(f"the gate needs some evidence: {', '.join(none)} must be at least 1")
        if self.resamples < 1:
            raise GateError("the gate needs at least one resample")
        unknown = sorted(set(self.floors) - set(PRIMARIES))
        if unknown:
            raise GateError(f"the gate has floors for {', '.join(PRIMARIES)}, and not for {', '.join(unknown)}")

    def level_for(self, challengers: int) -> float:
        """Confidence level of the paired intervals for this number of challengers (Bonferroni)."""
        return 1 - (1 - self.level) / max(challengers, 1)

    def require_classes(self, classes: Sequence[str]) -> None:
        """Check that every class named in the rules exists.

        Raises:
            GateError: `sensitivity_floors` names an unknown class.
        """
        if unknown := sorted(set(self.sensitivity_floors) - set(classes)):
            raise GateError(
                f"the gate's sensitivity_floors name {', '.join(unknown)}, and the classes are {', '.join(classes)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The rules as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` wrote; a rule that is missing keeps its default.

        Raises:
            GateError: a name is unknown, or a value is of the wrong kind or out of range.
        """
        known = [rule.name for rule in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise GateError(f"the gate has no rule named {', '.join(unknown)}; its rules are {', '.join(known)}")
        return cls(**values)


def read(path: Path) -> Gate:
    """Read rules from a JSON file.

    Raises:
        GateError: the file is missing or is not a JSON object, or its rules are refused as by `Gate.from_dict`.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GateError(f"the gate's file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise GateError(f"the gate's file {path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise GateError(f"the gate's file {path} is not a JSON object with rules by name")
    return Gate.from_dict(values)


def _check_kind(name: str, kind: Any, value: Any) -> None:
    """Refuse a value of the wrong type; `kind` is the field's annotation as text."""
    if kind == "str":
        fault = None if isinstance(value, str) else "a text"
    elif kind == "int":
        fault = None if _is_number(value) and isinstance(value, int) else "a whole number from 0 on"
    elif kind == "float":
        fault = None if _is_number(value) else "a number from 0 on"
    else:
        numbers = isinstance(value, dict) and all(isinstance(key, str) for key in value)
        fault = None if numbers and all(map(_is_number, value.values())) else "numbers from 0 on by name"
    if fault is not None:
        raise GateError(f"the gate's rule {name} is {fault}, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


DEFAULT: Final = Gate()
