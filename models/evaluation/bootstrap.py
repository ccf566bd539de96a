"""The patient bootstrap: how far a figure might have come out otherwise with other patients.

Whole patients are drawn with replacement, for the images of one patient resemble each other (Efron & Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 8: resample the units that are independent). A resample is a row of
weights: how often each image is in it. All figures of all models are computed on the same rows, so differences are
paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.evaluation.metrics import BINS, SPECIFICITY, binned, normalised, squared_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

CHUNK: Final = 3_000_000
"""Weights that are worked on at once: about 150 MB with all that is derived from them."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """A model's figures in each resample; NaN where a resample leaves one undefined."""

    metrics: dict[str, NDArray[np.float64]]
    """Those of `models.evaluation.metrics.HEADLINES`, each (resamples,)."""
    per_class: dict[str, NDArray[np.float64]]
    """Those of `models.evaluation.metrics.PER_CLASS`, each (resamples, classes)."""


def weights(patients: Sequence[str], resamples: int, seed: int) -> NDArray[np.uint8]:
    """Draw the resamples: (resamples, n), how often each image is in each of them.

    A patient is drawn by its place among the sorted identifiers, so the order of the images does not matter.
    """
    names, owners = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    drawn = np.zeros((resamples, len(patients)), np.uint8)
    random = np.random.default_rng(seed)
    for rows in _chunks(resamples, len(names)):
        size = rows.stop - rows.start
        draws = random.integers(0, max(len(names), 1), (size, len(names)))
        draws += np.arange(size)[:, None] * len(names)
        times = np.bincount(draws.ravel(), minlength=size * len(names)).reshape(size, len(names))
        drawn[rows] = times.astype(np.uint8)[:, owners]
    return drawn


def interval(values: NDArray[np.float64], level: float) -> tuple[float | None, float | None]:
    """Percentile interval; resamples without a value are left out, and without any it is (None, None)."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None, None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def replicate(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]], drawn: NDArray[np.uint8]
) -> Replicates:
    """Compute every figure in every resample.

    Args:
        labels: (n,) index of the true class.
        probabilities: (n, classes).
        drawn: (resamples, n), from `weights`.
    """
    probabilities = normalised(probabilities)
    size = probabilities.shape[1]
    counts = np.bincount(labels, minlength=size)
    present, comparable = counts > 0, (counts > 0) & (counts < len(labels))  # one class alone has no area
    figures = rates(tallies(labels, probabilities.argmax(axis=1), size, drawn), present)
    ranked = np.stack([_ranked(labels == index, probabilities[:, index], drawn) for index in range(size)])
    auc, pr_auc, at_specificity = (ranked[:, number].T for number in range(3))
    return Replicates(
        metrics={
            "accuracy": figures["accuracy"],
            "balanced_accuracy": figures["balanced_accuracy"],
            "macro_precision": figures["macro_precision"],
            "macro_f1": figures["macro_f1"],
            "macro_auc": _mean(auc[:, comparable]),
            "macro_pr_auc": _mean(pr_auc[:, comparable]),
            **_averages(labels, probabilities, drawn),
        },
        per_class={
            **{name: figures[name] for name in ("precision", "sensitivity", "specificity", "f1")},
            "auc": auc,
            "pr_auc": pr_auc,
            "sensitivity_at_95_specificity": at_specificity,
        },
    )


def tallies(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], size: int, drawn: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Confusion matrix of each resample: (resamples, size, size), a row for each true class."""
    return totals(cells(labels, predicted, size), drawn).reshape(-1, size, size)


def cells(labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], size: int) -> NDArray[np.float32]:
    """(n, size * size): 1 in the column of the confusion matrix's cell into which an image falls."""
    return np.eye(size * size, dtype=np.float32)[labels * size + predicted]


def totals(columns: NDArray[np.float32], drawn: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Weighted sums of the columns in each resample: (resamples, columns)."""
    sums = np.empty((len(drawn), columns.shape[1]))
    for rows in _chunks(len(drawn), len(columns)):
        sums[rows] = drawn[rows].astype(np.float32) @ columns
    return sums


def rates(counts: NDArray[np.float64], present: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Figures that follow from confusion matrices.

    Args:
        counts: (resamples, classes, classes), from `tallies`.
        present: (classes,) which classes occur in the whole test set; the means are over these, and a resample that
            lacks one of them has none.

    Returns:
        accuracy, balanced_accuracy, macro_precision, macro_f1: (resamples,); precision, sensitivity, specificity, f1:
        (resamples, classes).
    """
    total = counts.sum(axis=(1, 2))[:, None]
    right = np.diagonal(counts, axis1=1, axis2=2)
    actual, said = counts.sum(axis=2), counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = right / actual
        f1 = np.where(actual > 0, 2 * right / (actual + said), np.nan)
        return {
            "accuracy": right.sum(axis=1) / total[:, 0],
            "balanced_accuracy": _mean(sensitivity[:, present]),
            "macro_precision": _mean(np.where(said > 0, right / said, 0)[:, present]),
            "macro_f1": _mean(f1[:, present]),
            "precision": right / said,
            "sensitivity": sensitivity,
            "specificity": (total - actual - said + right) / (total - actual),
            "f1": f1,
        }


def _averages(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float64], drawn: NDArray[np.uint8]
) -> dict[str, NDArray[np.float64]]:
    """Brier score, calibration error and log loss, which are weighted means over images or bins."""
    bins, confidence, right = binned(labels, probabilities)
    of_true = probabilities[np.arange(len(labels)), labels]
    columns = np.column_stack(
        [
            np.ones(len(labels)),
            squared_errors(labels, probabilities),
            -np.log(np.maximum(of_true, np.finfo(np.float64).eps)),  # clipped as scikit-learn does
            np.eye(BINS)[bins] * (right - confidence)[:, None],
        ]
    )
    sums = totals(columns.astype(np.float32), drawn)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "brier": sums[:, 1] / sums[:, 0],
            "ece": np.abs(sums[:, 3:]).sum(axis=1) / sums[:, 0],
            "log_loss": sums[:, 2] / sums[:, 0],
        }


def _ranked(truth: NDArray[np.bool_], scores: NDArray[np.float64], drawn: NDArray[np.uint8]) -> NDArray[np.float64]:
    """ROC AUC, average precision and sensitivity at 95 % specificity of each resample: (3, resamples).

    One sort serves all resamples. Images with equal scores are passed in one step, as scikit-learn does.
    """
    figures = np.full((3, len(drawn)), np.nan)
    if not truth.any() or truth.all():
        return figures
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    truth = truth[order]
    for rows in _chunks(len(drawn), len(order)):
        chosen = drawn[rows][:, order]
        passed = np.cumsum(chosen, axis=1, dtype=np.int32)[:, ends]
        found = np.cumsum(chosen * truth, axis=1, dtype=np.int32)[:, ends].astype(np.float64)
        wrong = passed - found
        positives, negatives = found[:, -1], wrong[:, -1]
        gained = np.diff(found, axis=1, prepend=0)
        twice_area = np.einsum("ij,ij->i", np.diff(wrong, axis=1, prepend=0), 2 * found - gained)
        precise = np.einsum("ij,ij->i", gained, found / np.maximum(passed, 1))
        allowed = (wrong <= (1 - SPECIFICITY) * negatives[:, None] + 1e-9).sum(axis=1)
        reached = np.where(allowed > 0, found[np.arange(len(found)), allowed - 1], 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            known = np.where((positives > 0) & (negatives > 0), 1.0, np.nan)
            figures[0, rows] = known * twice_area / (2 * positives * negatives)
            figures[1, rows] = known * precise / positives
            figures[2, rows] = known * reached / positives
    return figures


def _mean(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    return columns.mean(axis=1) if columns.shape[1] else np.full(len(columns), np.nan)


def _chunks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, CHUNK // max(width, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
