"""A model's answers to the frozen test set, as figures with intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.evaluation.bootstrap import interval, rates, replicate, tallies, weights
from models.evaluation.metrics import HEADLINES, PER_CLASS, evaluate, reliability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.evaluation.bootstrap import Replicates

LEVEL: Final = 0.95
RESAMPLES: Final = 2000
CURVE_POINTS: Final = 200
WITHOUT_INTERVAL: Final = frozenset({"ece"})
"""Resampling adds noise to each bin, and the calibration error counts noise of either sign: its percentile interval
lies above its value. Of a difference between two models on the same resamples most of that cancels."""
SUBGROUP_IMAGES: Final = 20
SUBGROUP_PATIENTS: Final = 10
"""On fewer an interval says more about the bootstrap than about the model, and a table might point at a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet:
    """The images that no model has learned from, and what is known of them.

    Raises:
        ValueError: the parts do not have the same length, or a label is outside the classes.
    """

    __test__ = False
    """Pytest takes a class of this name for a test."""

    labels: NDArray[np.int64]
    """(n,) index into `classes`."""
    patients: tuple[str, ...]
    """n: whose image it is."""
    classes: tuple[str, ...]
    contents: tuple[str, ...]
    """n: sha256 of the image's bytes."""
    subgroups: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    """By what (view, sex, age band, site): n values, None where it is not known."""

    def __post_init__(self) -> None:
        lengths = {len(self.labels), len(self.patients), len(self.contents), *map(len, self.subgroups.values())}
        if len(lengths) != 1:
            raise ValueError(
                f"a test set has as many labels as patients, contents and values of subgroups, not {lengths}"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"labels of the test set must lie within its {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.labels)

    def patients_of(self, chosen: NDArray[np.bool_]) -> int:
        """Number of patients with at least one of the chosen (n,) images."""
        return len({self.patients[row] for row in np.flatnonzero(chosen)})


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's probabilities on a test set, with its figures there and in every resample of it."""

    test: TestSet
    probabilities: NDArray[np.floating[Any]]
    points: dict[str, Any]
    """From `models.evaluation.metrics.evaluate`."""
    drawn: NDArray[np.uint8]
    replicates: Replicates


def answers(
    test: TestSet, probabilities: NDArray[np.floating[Any]], *, resamples: int = RESAMPLES, seed: int = 0
) -> Answers:
    """Evaluate probabilities (n, classes) on the test set and on its resamples.

    Equal `resamples` and `seed` give the same resamples, whichever the model.

    Raises:
        ValueError: they are not one probability for each image and class.
    """
    fault = faulty(test, probabilities)
    if fault is not None:
        raise ValueError(fault)
    drawn = weights(test.patients, resamples, seed)
    points = evaluate(test.labels, probabilities, test.classes)
    return Answers(test, probabilities, points, drawn, replicate(test.labels, probabilities, drawn))


def faulty(test: TestSet, probabilities: NDArray[np.floating[Any]]) -> str | None:
    """Say why these are not a model's answers to the test set; None where they are."""
    shape = (len(test), len(test.classes))
    if probabilities.shape != shape:
        return f"there are {probabilities.shape} answers where {shape} are asked for"
    if not np.isfinite(probabilities).all():
        return f"{int((~np.isfinite(probabilities)).any(axis=1).sum())} of {len(test)} answers are not numbers"
    if (probabilities < 0).any() or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-2):
        return "the answers are not probabilities that sum to 1"
    return None


def figures(
    test: TestSet,
    probabilities: NDArray[np.floating[Any]],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of a model on a test set, with percentile intervals of the patient bootstrap.

    Args:
        test: n images.
        probabilities: (n, classes).
        level: of the intervals.
        resamples: of the patients.
        seed: of the resamples.

    Returns:
        JSON-ready, see `describe`.

    Raises:
        ValueError: they are not one probability for each image and class.
    """
    return describe(answers(test, probabilities, resamples=resamples, seed=seed), level=level)


def describe(
    given: Answers,
    *,
    level: float = LEVEL,
    subgroup_images: int = SUBGROUP_IMAGES,
    subgroup_patients: int = SUBGROUP_PATIENTS,
) -> dict[str, Any]:
    """A model's figures with intervals, JSON-ready.

    Returns:
        `n`, `patients`, `level`, `resamples`; `metrics` and `per_class` with {value, low, high} each; `confusion` (a
        row for each true class); `reliability` (bins of the top probability); `roc` (for each class up to 200 points
        [share of the others taken for it, sensitivity]); `subgroups`, and beside these how many are `too_small` to
        report (groups, and their images together: a name with a small number might point at a person) and the images
        for which the subgroup is `unknown`. What is undefined (a class that does not occur) has None for all three; a
        resample in which a figure is undefined is left out of its interval. What is in `WITHOUT_INTERVAL` has none.
    """
    test, points, replicates = given.test, given.points, given.replicates
    subgroups, too_small, unknown = _subgroups(given, level, subgroup_images, subgroup_patients)
    return {
        "n": len(test),
        "patients": len(set(test.patients)),
        "level": level,
        "resamples": len(given.drawn),
        "metrics": {
            name: _spread(points[name], replicates.metrics[name][: 0 if name in WITHOUT_INTERVAL else None], level)
            for name in HEADLINES
        },
        "per_class": {
            name: {
                "n": points["per_class"][name]["n"],
                **{
                    figure: _spread(points["per_class"][name][figure], replicates.per_class[figure][:, index], level)
                    for figure in PER_CLASS
                },
            }
            for index, name in enumerate(test.classes)
        },
        "confusion": points["confusion"],
        "reliability": reliability(test.labels, given.probabilities),
        "roc": {
            name: _curve(test.labels == index, given.probabilities[:, index]) for index, name in enumerate(test.classes)
        },
        "subgroups": subgroups,
        "too_small": too_small,
        "unknown": unknown,
    }


def _spread(value: float | None, replicates: NDArray[np.float64], level: float) -> dict[str, float | None]:
    low, high = interval(replicates, level) if value is not None else (None, None)
    return {"value": value, "low": low, "high": high}


def _curve(truth: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> list[list[float]]:
    if not truth.any() or truth.all():
        return []
    from sklearn.metrics import roc_curve

    wrong, found, _ = roc_curve(truth, scores)
    chosen = np.unique(np.linspace(0, len(wrong) - 1, min(CURVE_POINTS, len(wrong))).round().astype(np.intp))
    return [[float(x), float(y)] for x, y in zip(wrong[chosen], found[chosen], strict=True)]


def _subgroups(
    given: Answers, level: float, images: int, patients: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """Figures of the subgroups that are large enough, how many are not, images of neither."""
    test = given.test
    large: dict[str, Any] = {}
    small: dict[str, dict[str, int]] = {}
    unknown: dict[str, int] = {}
    for kind, values in test.subgroups.items():
        large[kind], unknown[kind] = {}, sum(value is None for value in values)
        small[kind] = {"groups": 0, "n": 0}
        for group in sorted({value for value in values if value is not None}):
            chosen = np.array([value == group for value in values])
            size = {"n": int(chosen.sum()), "patients": test.patients_of(chosen)}
            if size["n"] >= images and size["patients"] >= patients:
                large[kind][group] = size | _of_subgroup(given, chosen, level)
            else:
                small[kind]["groups"] += 1
                small[kind]["n"] += size["n"]
    return large, small, unknown


def _of_subgroup(given: Answers, chosen: NDArray[np.bool_], level: float) -> dict[str, Any]:
    """Accuracy and sensitivities among the chosen images; balanced accuracy is over the classes that occur there."""
    labels, classes = given.test.labels[chosen], given.test.classes
    predicted = given.probabilities[chosen].argmax(axis=1)
    present = np.bincount(labels, minlength=len(classes)) > 0
    points = evaluate(labels, given.probabilities[chosen], classes)
    resampled = rates(tallies(labels, predicted, len(classes), given.drawn[:, chosen]), present)
    return {
        **{name: _spread(points[name], resampled[name], level) for name in ("accuracy", "balanced_accuracy")},
        "per_class": {
            name: {
                "n": row["n"],
                "sensitivity": _spread(row["sensitivity"], resampled["sensitivity"][:, index], level),
            }
            for index, (name, row) in enumerate(points["per_class"].items())
        },
    }
