"""Metrics of probabilities."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.evaluation.metrics import HEADLINE_METRICS, PER_CLASS_METRICS, compute_metrics, reliability_bins

CLASSES = ("A", "B", "C")


def test_metrics_follow_from_the_confusion_matrix() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 1, 0])
    figures = compute_metrics(labels, np.eye(3, dtype=np.float32)[predicted] * 0.7 + 0.1, CLASSES)
    assert figures["confusion"] == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert figures["per_class"]["A"]["precision"] == pytest.approx(2 / 3)
    assert figures["per_class"]["A"]["specificity"] == pytest.approx(2 / 3)
    assert figures["per_class"]["C"]["precision"] is None  # never predicted


def test_a_class_that_does_not_occur_is_left_out_of_the_means() -> None:
    figures = compute_metrics(
        np.array([0, 1, 1]), np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]]), CLASSES
    )
    assert figures["balanced_accuracy"] == figures["macro_auc"] == figures["macro_f1"] == 1.0
    assert figures["per_class"]["C"] == {"n": 0, **dict.fromkeys(PER_CLASS_METRICS), "specificity": 1.0}


@pytest.mark.parametrize("labels", [[], [1], [0, 0, 0]])
def test_metrics_are_valid_json_whatever_is_missing(labels: list[int]) -> None:
    figures = compute_metrics(np.array(labels, np.intp), np.full((len(labels), 3), 1 / 3, np.float32), CLASSES)
    assert figures["n"] == len(labels)
    assert set(figures) == {"n", *HEADLINE_METRICS, "per_class", "confusion"}
    json.dumps(figures, allow_nan=False)


def test_metrics_judge_probabilities_as_well_as_classes() -> None:
    """By hand: two images, one right with 0.8, one wrong with 0.6."""
    figures = compute_metrics(np.array([0, 1]), np.array([[0.8, 0.2, 0.0], [0.6, 0.3, 0.1]]), CLASSES)
    assert figures["brier"] == pytest.approx((0.04 + 0.04 + 0.36 + 0.49 + 0.01) / 2)
    assert figures["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.3)) / 2)
    assert figures["ece"] == pytest.approx((0.2 + 0.6) / 2)  # one image in each of two bins


def test_reliability_bins_give_accuracy_by_confidence() -> None:
    bins = reliability_bins(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.91, 0.09], [0.62, 0.38]]))
    assert [row["n"] for row in bins] == [1, 2]
    assert bins[0] == {"confidence": pytest.approx(0.62), "accuracy": 0.0, "n": 1}
    assert bins[1] == {"confidence": pytest.approx(0.905), "accuracy": 1.0, "n": 2}
    assert reliability_bins(np.array([], np.int64), np.empty((0, 2))) == []


def test_sensitivity_at_a_specificity_allows_one_false_alarm_in_twenty() -> None:
    truth = np.array([0] * 20 + [1] * 4)
    scores = np.concatenate([np.linspace(0.01, 0.6, 19), [0.8], [0.9, 0.7, 0.65, 0.3]])
    figures = compute_metrics(truth, np.column_stack([1 - scores, scores]), ("no", "yes"))
    assert figures["per_class"]["yes"]["sensitivity_at_95_specificity"] == 0.75
