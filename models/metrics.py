"""How good probabilities are, in figures that a table can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_TEST_IMAGES = 30
"""On fewer a model is not judged: one image more or less that is right moves the accuracy by more than 3 points."""


def evaluate(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Hold probabilities against labels.

    Args:
        labels: (n,) index of the true class; n may be 0.
        probabilities: (n, classes), rows sum to 1.
        classes: names, in the order of the columns.

    Returns:
        JSON-ready figures. What the data cannot answer is None, never NaN: precision of a class that was never
        predicted, recall and AUC of a class that does not occur. Balanced accuracy and macro AUC are means over the
        classes that occur.
    """
    n = len(labels)
    if n == 0:
        empty = {name: {"n": 0, "recall": None, "precision": None, "auc": None} for name in classes}
        whole = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_auc", "log_loss"))
        return {"n": 0, **whole, "per_class": empty, "confusion": [[0] * len(classes) for _ in classes]}
    predicted = probabilities.argmax(axis=1)
    every = list(range(len(classes)))
    precision, recall, _, support = precision_recall_fscore_support(
        labels, predicted, labels=every, average=None, zero_division=np.nan
    )
    per_class = {
        name: {
            "n": int(support[index]),
            "recall": _number(recall[index]) if support[index] else None,
            "precision": _number(precision[index]),
            "auc": _auc(labels == index, probabilities[:, index]),
        }
        for index, name in enumerate(classes)
    }
    return {
        "n": n,
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": _mean([row["recall"] for row in per_class.values()]),
        "macro_auc": _mean([row["auc"] for row in per_class.values()]),
        "log_loss": float(log_loss(labels, _normalised(probabilities), labels=every)),
        "per_class": per_class,
        "confusion": confusion_matrix(labels, predicted, labels=every).tolist(),
    }


def unfit(figures: dict[str, Any]) -> str | None:
    """Say why a model with these figures of `evaluate` is not fit for use; None where they do not speak against it.

    It says nothing of a model that passes: that takes a comparison with another one on the same images.
    """
    n, accuracy = figures["n"], figures["accuracy"]
    if n == 0:
        return "there were no test images, so nobody knows what it has learned"
    why = []
    commonest = max(figures["per_class"], key=lambda name: figures["per_class"][name]["n"])
    share = figures["per_class"][commonest]["n"] / n
    if accuracy <= share + 1e-9:  # both are counts over n
        why.append(f"its test accuracy {accuracy:.3f} is no better than always saying {commonest} ({share:.3f})")
    if n < MIN_TEST_IMAGES:
        why.append(f"{n} test {'image' if n == 1 else 'images'}, and fewer than {MIN_TEST_IMAGES} cannot judge it")
    return "; ".join(why) or None


def _auc(truth: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> float | None:
    """Area under the ROC curve of one class against the rest, None where one side is missing."""
    return float(roc_auc_score(truth, scores)) if truth.any() and not truth.all() else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _normalised(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Rows that sum to 1 in double precision too, as scikit-learn asks."""
    double = probabilities.astype(np.float64)
    double /= double.sum(axis=1, keepdims=True)
    return double
