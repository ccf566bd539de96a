"""Promises of models/metrics.py."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from models.metrics import MIN_TEST_IMAGES, evaluate, unfit

CLASSES = ("A", "B", "C")


def test_figures_are_those_of_the_confusion() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 1, 0])
    figures = evaluate(labels, np.eye(3, dtype=np.float32)[predicted] * 0.7 + 0.1, CLASSES)
    assert figures["confusion"] == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert figures["per_class"]["A"]["precision"] == pytest.approx(2 / 3)
    assert figures["per_class"]["C"]["precision"] is None  # never predicted


def test_a_class_that_does_not_occur_is_left_out_of_the_means() -> None:
    figures = evaluate(np.array([0, 1, 1]), np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]]), CLASSES)
    assert figures["balanced_accuracy"] == 1.0
    assert figures["macro_auc"] == 1.0
    assert figures["per_class"]["C"] == {"n": 0, "recall": None, "precision": None, "auc": None}


@pytest.mark.parametrize("labels", [[], [1], [0, 0, 0]])
def test_figures_are_valid_json_whatever_is_missing(labels: list[int]) -> None:
    figures = evaluate(np.array(labels, np.intp), np.full((len(labels), 3), 1 / 3, np.float32), CLASSES)
    assert figures["n"] == len(labels)
    json.dumps(figures, allow_nan=False)


def figures_of(labels: list[int], predicted: list[int]) -> dict[str, Any]:
    return evaluate(np.array(labels, np.intp), np.eye(3, dtype=np.float32)[predicted], CLASSES)


def test_a_model_no_better_than_the_commonest_class_is_not_fit_for_use() -> None:
    labels = [0] * 20 + [1] * 10
    assert "its test accuracy 0.667 is no better than always saying A (0.667)" in str(
        unfit(figures_of(labels, [0] * 30))
    )
    assert unfit(figures_of(labels, [0] * 21 + [1] * 9)) is None


def test_a_model_is_not_judged_on_a_handful_of_images() -> None:
    assert unfit(figures_of([0, 1], [0, 1])) == f"2 test images, and fewer than {MIN_TEST_IMAGES} cannot judge it"
    assert "1 test image, " in str(unfit(figures_of([0], [0])))
    assert "no test images" in str(unfit(figures_of([], [])))
    assert unfit(figures_of([0, 1] * (MIN_TEST_IMAGES // 2), [0, 1] * (MIN_TEST_IMAGES // 2))) is None
