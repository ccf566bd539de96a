"""The patient bootstrap: how much a figure varies from one sample of patients to another.

Whole patients are drawn with replacement, because the images of one patient resemble each other (Efron & Tibshirani,
An Introduction to the Bootstrap, 1993, chapter 8: resample the units that are independent). A resample is a row of
weights: how often it contains each image. All figures of all models are computed on the same resamples, so differences
are paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.evaluation.metrics import CALIBRATION_BINS, FIXED_SPECIFICITY, brier_scores, confidence_bins, normalise_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

CHUNK_WEIGHTS: Final = 3_000_000
"""Weights that are processed at once: about 150 MB including everything derived from them."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """A model's figures in each resample; NaN where a figure is undefined in a resample."""

    metrics: dict[str, NDArray[np.float64]]
    """Those of `models.evaluation.metrics.HEADLINE_METRICS`, each (resamples,)."""
    per_class: dict[str, NDArray[np.float64]]
    """Those of `models.evaluation.metrics.PER_CLASS_METRICS`, each (resamples, classes)."""


def resample_weights(patients: Sequence[str], resamples: int, seed: int) -> NDArray[np.uint8]:
    """Draw the resamples: (resamples, n), how often each resample contains each image.

    Patients are drawn by their position among the sorted identifiers, so the order of the images does not matter.
    """
    names, owners = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    weights = np.zeros((resamples, len(patients)), np.uint8)
    random = np.random.default_rng(seed)
    for rows in _chunks(resamples, len(names)):
        size = rows.stop - rows.start
        draws = random.integers(0, max(len(names), 1), (size, len(names)))
        draws += np.arange(size)[:, None] * len(names)
        counts = np.bincount(draws.ravel(), minlength=size * len(names)).reshape(size, len(names))
        weights[rows] = counts.astype(np.uint8)[:, owners]
    return weights


def percentile_interval(values: NDArray[np.float64], level: float) -> tuple[float | None, float | None]:
    """Return the percentile interval, ignoring undefined values; (None, None) where all are undefined."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None, None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compute_replicates(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]], weights: NDArray[np.uint8]
) -> Replicates:
    """Compute every figure in every resample.

    Args:
        labels: (n,) index of the true class.
        probabilities: (n, classes).
        weights: (resamples, n), from `resample_weights`.
    """
    probabilities = normalise_rows(probabilities)
    size = probabilities.shape[1]
    counts = np.bincount(labels, minlength=size)
    present, comparable = counts > 0, (counts > 0) & (counts < len(labels))  # an AUC needs two classes
    figures = confusion_figures(confusion_matrices(labels, probabilities.argmax(axis=1), size, weights), present)
    per_class = np.stack([_rank_metrics(labels == index, probabilities[:, index], weights) for index in range(size)])
    auc, pr_auc, at_specificity = (per_class[:, number].T for number in range(3))
    return Replicates(
        metrics={
            "accuracy": figures["accuracy"],
            "balanced_accuracy": figures["balanced_accuracy"],
            "macro_precision": figures["macro_precision"],
            "macro_f1": figures["macro_f1"],
            "macro_auc": _mean(auc[:, comparable]),
            "macro_pr_auc": _mean(pr_auc[:, comparable]),
            **_probability_metrics(labels, probabilities, weights),
        },
        per_class={
            **{name: figures[name] for name in ("precision", "sensitivity", "specificity", "f1")},
            "auc": auc,
            "pr_auc": pr_auc,
            "sensitivity_at_95_specificity": at_specificity,
        },
    )


def confusion_matrices(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], size: int, weights: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Confusion matrix of each resample: (resamples, size, size), a row for each true class."""
    return weighted_sums(confusion_cells(labels, predicted, size), weights).reshape(-1, size, size)


def confusion_cells(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], size: int
) -> NDArray[np.float32]:
    """One-hot encode the images' cells of the flattened confusion matrix: (n, size * size)."""
    return np.eye(size * size, dtype=np.float32)[labels * size + predicted]


def weighted_sums(columns: NDArray[np.float32], weights: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Sum the columns (n, columns) over each resample: (resamples, columns)."""
    sums = np.empty((len(weights), columns.shape[1]))
    for rows in _chunks(len(weights), len(columns)):
        sums[rows] = weights[rows].astype(np.float32) @ columns
    return sums


def confusion_figures(counts: NDArray[np.float64], present: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Compute the figures that follow from confusion matrices.

    Args:
        counts: (resamples, classes, classes), from `confusion_matrices`.
        present: (classes,) whether a class occurs in the test set. Means are over these classes, and NaN in a resample
            that lacks one of them.

    Returns:
        accuracy, balanced_accuracy, macro_precision, macro_f1: (resamples,); precision, sensitivity, specificity, f1:
        (resamples, classes).
    """
    total = counts.sum(axis=(1, 2))[:, None]
    correct = np.diagonal(counts, axis1=1, axis2=2)
    actual, predicted = counts.sum(axis=2), counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = correct / actual
        f1 = np.where(actual > 0, 2 * correct / (actual + predicted), np.nan)
        return {
            "accuracy": correct.sum(axis=1) / total[:, 0],
            "balanced_accuracy": _mean(sensitivity[:, present]),
            "macro_precision": _mean(np.where(predicted > 0, correct / predicted, 0)[:, present]),
            "macro_f1": _mean(f1[:, present]),
            "precision": correct / predicted,
            "sensitivity": sensitivity,
            "specificity": (total - actual - predicted + correct) / (total - actual),
            "f1": f1,
        }


def _probability_metrics(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float64], weights: NDArray[np.uint8]
) -> dict[str, NDArray[np.float64]]:
    """Brier score, calibration error and log loss, which are weighted means over images or bins."""
    bins, confidence, correct = confidence_bins(labels, probabilities)
    true_class = probabilities[np.arange(len(labels)), labels]
    columns = np.column_stack(
        [
            np.ones(len(labels)),
            brier_scores(labels, probabilities),
            -np.log(np.maximum(true_class, np.finfo(np.float64).eps)),  # clipped as in scikit-learn
            np.eye(CALIBRATION_BINS)[bins] * (correct - confidence)[:, None],
        ]
    )
    sums = weighted_sums(columns.astype(np.float32), weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "brier": sums[:, 1] / sums[:, 0],
            "ece": np.abs(sums[:, 3:]).sum(axis=1) / sums[:, 0],
            "log_loss": sums[:, 2] / sums[:, 0],
        }


def _rank_metrics(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """ROC AUC, average precision and sensitivity at 95 % specificity of each resample: (3, resamples).

    All resamples share one sort. Images with equal scores pass a threshold together, as in scikit-learn.
    """
    figures = np.full((3, len(weights)), np.nan)
    if not truth.any() or truth.all():
        return figures
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    truth = truth[order]
    for rows in _chunks(len(weights), len(order)):
        counts = weights[rows][:, order]
        passed = np.cumsum(counts, axis=1, dtype=np.int32)[:, ends]
        true_positives = np.cumsum(counts * truth, axis=1, dtype=np.int32)[:, ends].astype(np.float64)
        false_positives = passed - true_positives
        positives, negatives = true_positives[:, -1], false_positives[:, -1]
        gained = np.diff(true_positives, axis=1, prepend=0)
        twice_area = np.einsum("ij,ij->i", np.diff(false_positives, axis=1, prepend=0), 2 * true_positives - gained)
        precision_sum = np.einsum("ij,ij->i", gained, true_positives / np.maximum(passed, 1))
        allowed = (false_positives <= (1 - FIXED_SPECIFICITY) * negatives[:, None] + 1e-9).sum(axis=1)
        reached = np.where(allowed > 0, true_positives[np.arange(len(true_positives)), allowed - 1], 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            defined = np.where((positives > 0) & (negatives > 0), 1.0, np.nan)
            figures[0, rows] = defined * twice_area / (2 * positives * negatives)
            figures[1, rows] = defined * precision_sum / positives
            figures[2, rows] = defined * reached / positives
    return figures


def _mean(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    return columns.mean(axis=1) if columns.shape[1] else np.full(len(columns), np.nan)


def _chunks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, CHUNK_WEIGHTS // max(width, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
