"""A model's figures on the test set, and their bootstrap intervals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import metrics as reference

from models.evaluation.bootstrap import compute_replicates, resample_weights
from models.evaluation.metrics import FIXED_SPECIFICITY, HEADLINE_METRICS, PER_CLASS_METRICS, compute_metrics
from models.evaluation.test_set import TestSet, evaluate_predictions, evaluation_figures, figures_with_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")


def random_predictions(
    n: int, seed: int = 0, images_a_patient: int = 2, ties: int | None = None
) -> tuple[TestSet, NDArray[np.floating[Any]]]:
    """A test set and a model's probabilities on it, right in four of five cases and rounded to `ties` digits."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, n, p=(0.2, 0.4, 0.4))
    logits = random.normal(size=(n, 3)) + 2 * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if ties is not None:
        probabilities = probabilities.round(ties) + 1e-3
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    sexes = tuple(random.choice(["F", "M", "?"], n, p=(0.5, 0.45, 0.05)).tolist())
    test = TestSet(
        labels=labels,
        patients=tuple(f"p{row // images_a_patient}" for row in range(n)),
        classes=CLASSES,
        contents=tuple(f"{row:064x}" for row in range(n)),
        subgroups={"sex": tuple(None if one == "?" else one for one in sexes)},
    )
    return test, probabilities


def test_a_resample_consists_of_whole_patients() -> None:
    patients = ["a", "b", "b", "c", "c", "c"]
    resamples = resample_weights(patients, 500, seed=0)
    assert (resamples[:, 1] == resamples[:, 2]).all()
    assert (resamples[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert np.abs(resamples.mean(axis=0) - 1).max() < 0.1
    shuffled = resample_weights(["c", "b", "c", "a", "b", "c"], 500, seed=0)
    assert (shuffled[:, 3] == resamples[:, 0]).all()  # the order of the images does not matter


@pytest.mark.parametrize("ties", [None, 1])
def test_replicates_equal_scikit_learns_metrics_with_these_weights(ties: int | None) -> None:
    test, probabilities = random_predictions(120, ties=ties)
    resamples = resample_weights(test.patients, 25, seed=3)
    found = compute_replicates(test.labels, probabilities, resamples)
    predicted = probabilities.argmax(axis=1)
    double = probabilities / probabilities.sum(axis=1, keepdims=True)
    for row, weight in enumerate(resamples):
        asked = {"sample_weight": weight, "labels": [0, 1, 2], "zero_division": np.nan}
        precision, sensitivity, f1, _ = reference.precision_recall_fscore_support(test.labels, predicted, **asked)
        expected = {
            "accuracy": reference.accuracy_score(test.labels, predicted, sample_weight=weight),
            "balanced_accuracy": reference.balanced_accuracy_score(test.labels, predicted, sample_weight=weight),
            "macro_precision": np.nan_to_num(precision).mean(),
            "macro_f1": f1.mean(),
            "log_loss": reference.log_loss(test.labels, double, sample_weight=weight),
        }
        for name, value in expected.items():
            assert found.metrics[name][row] == pytest.approx(value, abs=1e-6)
        np.testing.assert_allclose(found.per_class["precision"][row], precision, atol=1e-6)
        np.testing.assert_allclose(found.per_class["sensitivity"][row], sensitivity, atol=1e-6)
        for index in range(3):
            truth, scores = test.labels == index, double[:, index]
            auc = reference.roc_auc_score(truth, scores, sample_weight=weight)
            area = reference.average_precision_score(truth, scores, sample_weight=weight)
            curve = reference.roc_curve(truth, scores, sample_weight=weight, drop_intermediate=False)
            assert found.per_class["auc"][row, index] == pytest.approx(auc)
            assert found.per_class["pr_auc"][row, index] == pytest.approx(area)
            reached = curve[1][curve[0] <= 1 - FIXED_SPECIFICITY + 1e-9].max()
            assert found.per_class["sensitivity_at_95_specificity"][row, index] == pytest.approx(reached)


@pytest.mark.parametrize("ties", [None, 1])
def test_the_test_set_itself_as_a_resample_gives_the_point_estimates(ties: int | None) -> None:
    """Value and interval are computed by different code, but describe the same figure."""
    test, probabilities = random_predictions(200, ties=ties)
    found = compute_replicates(test.labels, probabilities, np.ones((1, 200), np.uint8))
    points = compute_metrics(test.labels, probabilities, CLASSES)
    for name in HEADLINE_METRICS:
        assert found.metrics[name][0] == pytest.approx(points[name], abs=1e-6)
    for name in PER_CLASS_METRICS:
        expected = [points["per_class"][one][name] for one in CLASSES]
        np.testing.assert_allclose(found.per_class[name][0], expected, atol=1e-6)


def test_intervals_contain_the_value_and_shrink_with_more_images() -> None:
    widths = []
    for n in (100, 1600):
        test, probabilities = random_predictions(n)
        found = evaluation_figures(test, probabilities, resamples=500)
        for name in ("accuracy", "balanced_accuracy", "macro_auc", "macro_pr_auc", "brier", "log_loss"):
            spread = found["metrics"][name]
            assert spread["low"] < spread["value"] < spread["high"]
        widths.append(found["metrics"]["accuracy"]["high"] - found["metrics"]["accuracy"]["low"])
    assert widths[1] < 0.4 * widths[0]


def test_images_of_one_patient_count_as_one_patient() -> None:
    """Ten copies of each image contain no more information than one, and the interval does not shrink."""
    test, probabilities = random_predictions(60, images_a_patient=1)
    copies = np.repeat(np.arange(60), 10)
    tenfold = TestSet(
        labels=test.labels[copies],
        patients=tuple(test.patients[row] for row in copies),
        classes=CLASSES,
        contents=tuple(f"{row:064x}" for row in range(600)),
    )
    once, ten = (
        evaluation_figures(test, probabilities, resamples=500),
        evaluation_figures(tenfold, probabilities[copies], resamples=500),
    )
    assert ten["metrics"]["accuracy"] == pytest.approx(once["metrics"]["accuracy"])
    assert (ten["n"], ten["patients"]) == (600, 60)


def test_the_same_seed_gives_the_same_intervals() -> None:
    test, probabilities = random_predictions(80)
    assert evaluation_figures(test, probabilities, resamples=50) == evaluation_figures(
        test, probabilities, resamples=50
    )
    assert evaluation_figures(test, probabilities, resamples=50) != evaluation_figures(
        test, probabilities, resamples=50, seed=1
    )


@pytest.mark.parametrize("labels", [[], [1], [0] * 5, [0, 0, 1, 1]])
def test_undefined_figures_are_none_and_the_result_is_valid_json(labels: list[int]) -> None:
    test = TestSet(
        labels=np.array(labels, np.int64),
        patients=tuple(f"p{row}" for row in range(len(labels))),
        classes=CLASSES,
        contents=tuple(f"{row:064x}" for row in range(len(labels))),
    )
    found = evaluation_figures(test, np.full((len(labels), 3), 1 / 3, np.float32), resamples=20)
    json.dumps(found, allow_nan=False)
    assert found["per_class"]["PNEUMONIA"]["sensitivity"] == {"value": None, "low": None, "high": None}


def test_a_subgroup_is_reported_when_it_is_large_enough() -> None:
    test, probabilities = random_predictions(60)
    given = evaluate_predictions(test, probabilities, resamples=50)
    found = figures_with_intervals(given, subgroup_images=25, subgroup_patients=5)
    women = np.array([one == "F" for one in test.subgroups["sex"]])
    assert found["subgroups"]["sex"]["F"]["n"] == women.sum()
    right = (probabilities.argmax(axis=1) == test.labels)[women].mean()
    assert found["subgroups"]["sex"]["F"]["accuracy"]["value"] == pytest.approx(right)
    assert found["unknown"]["sex"] == sum(one is None for one in test.subgroups["sex"])
    few = figures_with_intervals(given, subgroup_images=1000)
    assert few["subgroups"]["sex"] == {}
    known = sum(one is not None for one in test.subgroups["sex"])
    assert few["too_small"]["sex"] == {"groups": len(set(test.subgroups["sex"]) - {None}), "n": known}
    assert few["metrics"]["ece"]["low"] is None, "a percentile interval would lie above it"
    assert few["metrics"]["brier"]["low"] is not None


def test_curves_are_thinned_but_run_from_corner_to_corner() -> None:
    test, probabilities = random_predictions(3000)
    curve = evaluation_figures(test, probabilities, resamples=1)["roc"]["NORMAL"]
    assert len(curve) <= 200
    assert (curve[0], curve[-1]) == ([0.0, 0.0], [1.0, 1.0])


def test_invalid_probabilities_are_refused_in_words() -> None:
    test, probabilities = random_predictions(40)
    with pytest.raises(ValueError, match=r"not \(40, 3\)"):
        evaluation_figures(test, probabilities[:-1])
    spoiled = probabilities.copy()
    spoiled[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 40 answers are not numbers"):
        evaluation_figures(test, spoiled)
    with pytest.raises(ValueError, match="not probabilities that sum to 1"):
        evaluation_figures(test, probabilities * 2)
    with pytest.raises(ValueError, match="equally many labels, patients"):
        TestSet(labels=np.array([0]), patients=(), classes=CLASSES, contents=("0",))
