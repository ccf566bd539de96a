"""Metrics of predicted probabilities against true classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADLINE_METRICS: Final = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_f1": "macro F1",
    "macro_auc": "macro ROC AUC",
    "macro_pr_auc": "macro PR AUC",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "log_loss": "log loss",
}
"""Figures of a whole model and their names in words; `LOWER_IS_BETTER` names those for which less is better."""
LOWER_IS_BETTER: Final = frozenset({"brier", "ece", "log_loss"})
PER_CLASS_METRICS: Final = {
    "precision": "precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
    "auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "sensitivity_at_95_specificity": "sensitivity at 95 % specificity",
}
"""Figures of one class against the rest and their names in words."""
CALIBRATION_BINS: Final = 15
"""Equally wide bins of the calibration error (Guo et al., On calibration of modern neural networks, ICML 2017)."""
FIXED_SPECIFICITY: Final = 0.95
"""Specificity at which sensitivity is reported."""


def compute_metrics(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Compute all metrics of probabilities.

    Args:
        labels: (n,) index of the true class; n may be 0.
        probabilities: (n, classes), rows sum to 1.
        classes: names, in the order of the columns.

    Returns:
        JSON-ready figures: `n`, those of `HEADLINE_METRICS`, `per_class` (`n` and those of `PER_CLASS_METRICS`) and
        `confusion` (a row for each true class). An undefined figure is None, never NaN: precision of a class that was
        never predicted, sensitivity and AUC of a class that does not occur. Balanced accuracy and the macro figures are
        means over the classes that occur; a class that was never predicted counts as 0 in macro precision. The Brier
        score sums over the classes and is between 0 and 2.
    """
    indices = list(range(len(classes)))
    if len(labels) == 0:
        return {
            "n": 0,
            **dict.fromkeys(HEADLINE_METRICS),
            "per_class": {name: {"n": 0, **dict.fromkeys(PER_CLASS_METRICS)} for name in classes},
            "confusion": [[0 for _ in indices] for _ in indices],
        }
    from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

    probabilities = normalise_rows(probabilities)
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, labels=indices)
    per_class = _per_class(labels, probabilities, confusion, classes)
    occurring = [row for row in per_class.values() if row["n"]]
    return {
        "n": len(labels),
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": _mean([row["sensitivity"] for row in occurring]),
        "macro_precision": _mean([row["precision"] or 0.0 for row in occurring]),
        "macro_f1": _mean([row["f1"] for row in occurring]),
        "macro_auc": _mean([row["auc"] for row in occurring]),
        "macro_pr_auc": _mean([row["pr_auc"] for row in occurring]),
        "brier": float(brier_scores(labels, probabilities).mean()),
        "ece": _calibration_error(labels, probabilities),
        "log_loss": float(log_loss(labels, probabilities, labels=indices)),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def reliability_bins(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]]
) -> list[dict[str, float | int]]:
    """Compute mean confidence and accuracy of the images in each confidence bin; empty bins are left out."""
    bins, confidence, correct = confidence_bins(labels, normalise_rows(probabilities))
    return [
        {
            "confidence": float(confidence[bins == number].mean()),
            "accuracy": float(correct[bins == number].mean()),
            "n": int((bins == number).sum()),
        }
        for number in np.unique(bins)
    ]


def confidence_bins(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.bool_]]:
    """Return each image's confidence bin, its confidence (the top probability), and whether the top class is true."""
    confidence = probabilities.max(axis=1, initial=0.0)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    return bins, confidence, probabilities.argmax(axis=1) == labels


def brier_scores(labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Brier score of each image, summed over the classes (Brier 1950)."""
    errors: NDArray[np.float64] = ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1)
    return errors


def normalise_rows(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Scale rows to sum to 1 in double precision, as scikit-learn requires."""
    double = probabilities.astype(np.float64)
    double /= double.sum(axis=1, keepdims=True)
    return double


def _per_class(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.float64],
    confusion: NDArray[np.int64],
    classes: tuple[str, ...],
) -> dict[str, dict[str, Any]]:
    from sklearn.metrics import precision_recall_fscore_support

    precision, sensitivity, f1, support = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=list(range(len(classes))), average=None, zero_division=np.nan
    )
    others = len(labels) - confusion.sum(axis=1)
    true_negatives = others - confusion.sum(axis=0) + confusion.diagonal()
    return {
        name: {
            "n": int(support[index]),
            "precision": _number(precision[index]),
            "sensitivity": _number(sensitivity[index]) if support[index] else None,
            "specificity": float(true_negatives[index] / others[index]) if others[index] else None,
            "f1": _number(f1[index]) if support[index] else None,
            **_rank_metrics(labels == index, probabilities[:, index]),
        }
        for index, name in enumerate(classes)
    }


def _rank_metrics(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, float | None]:
    """Figures of the ranking by one class's probability; None where positives or negatives are missing."""
    if not truth.any() or truth.all():
        return dict.fromkeys(("auc", "pr_auc", "sensitivity_at_95_specificity"))
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    false_positive_rate, sensitivity, _ = roc_curve(truth, scores, drop_intermediate=False)
    return {
        "auc": float(roc_auc_score(truth, scores)),
        "pr_auc": float(average_precision_score(truth, scores)),
        "sensitivity_at_95_specificity": float(sensitivity[false_positive_rate <= 1 - FIXED_SPECIFICITY + 1e-9].max()),
    }


def _calibration_error(labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float64]) -> float:
    """Mean absolute difference between confidence and accuracy, weighted by the bins' images (Guo et al. 2017)."""
    bins, confidence, correct = confidence_bins(labels, probabilities)
    return float(np.abs(np.bincount(bins, correct - confidence)).sum() / len(labels))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
