"""The frozen test set, and a model's figures on it with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.evaluation.bootstrap import (
    compute_replicates,
    confusion_figures,
    confusion_matrices,
    percentile_interval,
    resample_weights,
)
from models.evaluation.metrics import HEADLINE_METRICS, PER_CLASS_METRICS, compute_metrics, reliability_bins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.evaluation.bootstrap import Replicates

CONFIDENCE_LEVEL: Final = 0.95
RESAMPLES: Final = 2000
CURVE_POINTS: Final = 200
"""Maximum number of points of a stored ROC curve."""
WITHOUT_INTERVAL: Final = frozenset({"ece"})
"""Resampling adds noise to each bin, and the calibration error sums the noise's absolute value, so its percentile
interval lies above its value. In a difference between two models on the same resamples most of this cancels out."""
MIN_SUBGROUP_IMAGES: Final = 20
MIN_SUBGROUP_PATIENTS: Final = 10
"""Minimum sizes of a reported subgroup: with fewer, intervals mean little and a table might identify a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet:
    """The images that no model learns from, with their labels, patients and subgroups.

    Raises:
        ValueError: the parts differ in length, or a label is outside the classes.
    """

    __test__ = False
    """Keeps pytest from collecting this class as a test."""

    labels: NDArray[np.int64]
    """(n,) index into `classes`."""
    patients: tuple[str, ...]
    """n patient identifiers."""
    classes: tuple[str, ...]
    contents: tuple[str, ...]
    """n sha256 digests of the images' bytes."""
    subgroups: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    """By attribute (view, sex, age band, site): n values, None where unknown."""

    def __post_init__(self) -> None:
        lengths = {len(self.labels), len(self.patients), len(self.contents), *map(len, self.subgroups.values())}
        if len(lengths) != 1:
            raise ValueError(
                f"a test set needs equally many labels, patients, contents and subgroup values, not {sorted(lengths)}"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"the test set's labels must be below its number of classes, {len(self.classes)}")

    def __len__(self) -> int:
        return len(self.labels)

    def patients_of(self, chosen: NDArray[np.bool_]) -> int:
        """Return the number of patients with at least one of the chosen (n,) images."""
        return len({self.patients[row] for row in np.flatnonzero(chosen)})


@dataclass(frozen=True, slots=True)
class EvaluatedAnswers:
    """A model's probabilities on a test set, with its figures on the set and on each resample."""

    test: TestSet
    probabilities: NDArray[np.floating[Any]]
    points: dict[str, Any]
    """From `models.evaluation.metrics.compute_metrics`."""
    weights: NDArray[np.uint8]
    """(resamples, n), from `models.evaluation.bootstrap.resample_weights`."""
    replicates: Replicates


def evaluate_predictions(
    test: TestSet, probabilities: NDArray[np.floating[Any]], *, resamples: int = RESAMPLES, seed: int = 0
) -> EvaluatedAnswers:
    """Evaluate probabilities (n, classes) on the test set and on its resamples.

    Equal `resamples` and `seed` give the same resamples for every model.

    Raises:
        ValueError: the array is not one probability for each image and class.
    """
    fault = find_fault(test, probabilities)
    if fault is not None:
        raise ValueError(fault)
    weights = resample_weights(test.patients, resamples, seed)
    points = compute_metrics(test.labels, probabilities, test.classes)
    return EvaluatedAnswers(
        test, probabilities, points, weights, compute_replicates(test.labels, probabilities, weights)
    )


def find_fault(test: TestSet, probabilities: NDArray[np.floating[Any]]) -> str | None:
    """Return why the array cannot be a model's probabilities on the test set, in words; None where it can."""
    shape = (len(test), len(test.classes))
    if probabilities.shape != shape:
        return f"the answers have shape {probabilities.shape}, not {shape}"
    if not np.isfinite(probabilities).all():
        return f"{int((~np.isfinite(probabilities)).any(axis=1).sum())} of {len(test)} answers are not numbers"
    if (probabilities < 0).any() or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-2):
        return "the answers are not probabilities that sum to 1"
    return None


def evaluation_figures(
    test: TestSet,
    probabilities: NDArray[np.floating[Any]],
    *,
    level: float = CONFIDENCE_LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute all figures of a model on a test set, with percentile intervals of the patient bootstrap.

    Args:
        test: n images.
        probabilities: (n, classes).
        level: confidence level of the intervals.
        resamples: number of resamples.
        seed: of the resamples.

    Returns:
        JSON-ready, see `figures_with_intervals`.

    Raises:
        ValueError: the array is not one probability for each image and class.
    """
    return figures_with_intervals(
        evaluate_predictions(test, probabilities, resamples=resamples, seed=seed), level=level
    )


def figures_with_intervals(
    evaluation: EvaluatedAnswers,
    *,
    level: float = CONFIDENCE_LEVEL,
    subgroup_images: int = MIN_SUBGROUP_IMAGES,
    subgroup_patients: int = MIN_SUBGROUP_PATIENTS,
) -> dict[str, Any]:
    """Return a model's figures with intervals, JSON-ready.

    Returns:
        `n`, `patients`, `level`, `resamples`; `metrics` and `per_class` with {value, low, high} each; `confusion` (a
        row for each true class); `reliability` (confidence bins); `roc` (for each class up to 200 points
        [1 - specificity, sensitivity]); `subgroups`; `too_small`, the number of subgroups that are too small to report
        and their images in total (a name with a small number might identify a person); `unknown`, the number of images
        whose subgroup is not known. An undefined figure, such as that of a class that does not occur, has None for
        value, low and high. A resample in which a figure is undefined is left out of its interval. Figures in
        `WITHOUT_INTERVAL` have None for low and high.
    """
    test, points, replicates = evaluation.test, evaluation.points, evaluation.replicates
    subgroups, too_small, unknown = _subgroups(evaluation, level, subgroup_images, subgroup_patients)
    return {
        "n": len(test),
        "patients": len(set(test.patients)),
        "level": level,
        "resamples": len(evaluation.weights),
        "metrics": {
            name: _with_interval(
                points[name], replicates.metrics[name][: 0 if name in WITHOUT_INTERVAL else None], level
            )
            for name in HEADLINE_METRICS
        },
        "per_class": {
            name: {
                "n": points["per_class"][name]["n"],
                **{
                    figure: _with_interval(
                        points["per_class"][name][figure], replicates.per_class[figure][:, index], level
                    )
                    for figure in PER_CLASS_METRICS
                },
            }
            for index, name in enumerate(test.classes)
        },
        "confusion": points["confusion"],
        "reliability": reliability_bins(test.labels, evaluation.probabilities),
        "roc": {
            name: _roc_points(test.labels == index, evaluation.probabilities[:, index])
            for index, name in enumerate(test.classes)
        },
        "subgroups": subgroups,
        "too_small": too_small,
        "unknown": unknown,
    }


def _with_interval(value: float | None, replicates: NDArray[np.float64], level: float) -> dict[str, float | None]:
    low, high = percentile_interval(replicates, level) if value is not None else (None, None)
    return {"value": value, "low": low, "high": high}


def _roc_points(truth: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> list[list[float]]:
    if not truth.any() or truth.all():
        return []
    from sklearn.metrics import roc_curve

    false_positive_rate, sensitivity, _ = roc_curve(truth, scores)
    count = len(sensitivity)
    chosen = np.unique(np.linspace(0, count - 1, min(CURVE_POINTS, count)).round().astype(np.intp))
    return [[float(x), float(y)] for x, y in zip(false_positive_rate[chosen], sensitivity[chosen], strict=True)]


def _subgroups(
    evaluation: EvaluatedAnswers, level: float, images: int, patients: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """By attribute: figures of the large enough subgroups, counts of those too small, images whose group is unknown."""
    test = evaluation.test
    reported: dict[str, Any] = {}
    too_small: dict[str, dict[str, int]] = {}
    unknown: dict[str, int] = {}
    for attribute, values in test.subgroups.items():
        reported[attribute], unknown[attribute] = {}, sum(value is None for value in values)
        too_small[attribute] = {"groups": 0, "n": 0}
        for group in sorted({value for value in values if value is not None}):
            chosen = np.array([value == group for value in values])
            size = {"n": int(chosen.sum()), "patients": test.patients_of(chosen)}
            if size["n"] >= images and size["patients"] >= patients:
                reported[attribute][group] = size | _subgroup_figures(evaluation, chosen, level)
            else:
                too_small[attribute]["groups"] += 1
                too_small[attribute]["n"] += size["n"]
    return reported, too_small, unknown


def _subgroup_figures(evaluation: EvaluatedAnswers, chosen: NDArray[np.bool_], level: float) -> dict[str, Any]:
    """Accuracy and sensitivities among the chosen images; balanced accuracy is over the classes that occur there."""
    labels, classes = evaluation.test.labels[chosen], evaluation.test.classes
    predicted = evaluation.probabilities[chosen].argmax(axis=1)
    present = np.bincount(labels, minlength=len(classes)) > 0
    points = compute_metrics(labels, evaluation.probabilities[chosen], classes)
    resampled = confusion_figures(
        confusion_matrices(labels, predicted, len(classes), evaluation.weights[:, chosen]), present
    )
    return {
        **{name: _with_interval(points[name], resampled[name], level) for name in ("accuracy", "balanced_accuracy")},
        "per_class": {
            name: {
                "n": row["n"],
                "sensitivity": _with_interval(row["sensitivity"], resampled["sensitivity"][:, index], level),
            }
            for index, (name, row) in enumerate(points["per_class"].items())
        },
    }
