"""Paired comparison of two models."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import norm

from models.evaluation.comparison import delong_test, mcnemar_test, paired_differences
from models.evaluation.test_set import TestSet, evaluate_predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")


def random_probabilities(random: np.random.Generator, labels: NDArray[Any], strength: float) -> NDArray[np.float64]:
    logits = random.normal(size=(len(labels), 3)) + strength * np.eye(3)[labels]
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def random_predictions(n: int, *strengths: float) -> tuple[TestSet, list[NDArray[np.float64]]]:
    """A test set with two images of each patient, and the probabilities of models of these strengths."""
    random = np.random.default_rng(0)
    labels = random.choice(3, n, p=(0.2, 0.4, 0.4))
    contents = tuple(f"{row:064x}" for row in range(n))
    patients = tuple(f"p{row // 2}" for row in range(n))
    test = TestSet(labels=labels, patients=patients, classes=CLASSES, contents=contents)
    return test, [random_probabilities(random, labels, strength) for strength in strengths]


def compare(
    test: TestSet, one: NDArray[Any], other: NDArray[Any], *, resamples: int, level: float = 0.95
) -> dict[str, Any]:
    champion, challenger = (evaluate_predictions(test, given, resamples=resamples, seed=0) for given in (one, other))
    return paired_differences(champion, challenger, level=level)


def test_a_better_model_is_better_in_every_figure() -> None:
    test, (weak, strong) = random_predictions(600, 1.5, 3.0)
    found = compare(test, weak, strong, resamples=300)
    json.dumps(found, allow_nan=False)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "macro_pr_auc"):
        assert found["metrics"][name]["low"] > 0
    for name in ("brier", "log_loss"):
        assert found["metrics"][name]["high"] < 0
    assert found["per_class"]["NORMAL"]["sensitivity"]["low"] > 0
    assert found["mcnemar"]["p_value"] < 1e-6
    assert all(row["p_value"] < 1e-3 and row["z"] > 0 for row in found["delong"].values())


def test_a_difference_is_paired() -> None:
    """Two models with nearly the same errors differ far less than two models with independent errors."""
    test, (one, other) = random_predictions(400, 2.0, 2.0)
    nearly = one.copy()
    nearly[:4] = other[:4]
    widths = [
        found["high"] - found["low"]
        for found in (compare(test, one, given, resamples=300)["metrics"]["accuracy"] for given in (nearly, other))
    ]
    assert widths[0] < 0.2 * widths[1]


def test_a_model_does_not_differ_from_itself() -> None:
    test, (one,) = random_predictions(100, 2.0)
    found = compare(test, one, one, resamples=50)
    assert all((row["value"], row["low"], row["high"]) == (0, 0, 0) for row in found["metrics"].values())
    assert found["mcnemar"] == {"only_champion_right": 0, "only_challenger_right": 0, "p_value": 1.0}
    assert found["delong"]["NORMAL"] == {"z": 0.0, "p_value": 1.0}


def test_a_stricter_level_widens_the_interval() -> None:
    test, (one, other) = random_predictions(200, 2.0, 2.2)
    spans = [
        found["high"] - found["low"]
        for found in (
            compare(test, one, other, resamples=500, level=level)["metrics"]["accuracy"] for level in (0.8, 0.95, 0.99)
        )
    ]
    assert all(less < more for less, more in pairwise(spans))


def test_mcnemar_is_the_sign_test_on_the_discordant_images() -> None:
    """1 against 8 of 9 discordant images: 2 * (1 + 9) / 2**9 (Dietterich 1998 recommends the test for classifiers)."""
    labels = np.zeros(30, np.int64)
    champion, challenger = np.zeros(30, np.int64), np.zeros(30, np.int64)
    champion[:8], challenger[8] = 1, 1
    found = mcnemar_test(labels, champion, challenger)
    assert (found["only_champion_right"], found["only_challenger_right"]) == (1, 8)
    assert found["p_value"] == pytest.approx(20 / 512)


def slow_delong(truth: NDArray[np.bool_], one: NDArray[Any], other: NDArray[Any]) -> float:
    """The z of DeLong et al. 1988, from all pairs, ties counting one half."""

    def components(scores: NDArray[Any]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        beats = scores[truth][:, None] - scores[~truth][None, :]
        kernel = (beats > 0) + 0.5 * (beats == 0)
        return kernel.mean(), kernel.mean(axis=1), kernel.mean(axis=0)

    (area, *parts), (other_area, *other_parts) = components(one), components(other)
    variance = sum(np.var(mine - theirs, ddof=1) / len(mine) for mine, theirs in zip(parts, other_parts, strict=True))
    return float((other_area - area) / np.sqrt(variance))


@pytest.mark.parametrize("digits", [6, 1])
def test_delong_agrees_with_the_definition_over_all_pairs_and_is_silent(
    digits: int, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(1)
    truth = random.random(150) < 0.3
    one, other = ((random.normal(size=150) + strength * truth).round(digits) for strength in (1.0, 1.6))
    found = delong_test(truth, one, other)
    z = slow_delong(truth, one, other)
    assert found == {"z": pytest.approx(z), "p_value": pytest.approx(2 * norm.sf(abs(z)))}
    assert capsys.readouterr() == ("", "")


def test_delong_is_fast_and_sensible_where_the_variance_is_zero() -> None:
    truth = np.array([False] * 2000 + [True] * 500)
    perfect, other = np.arange(2500.0), truth + np.random.default_rng(0).random(2500) * 0.5
    assert delong_test(truth, perfect, perfect**3) == {"z": 0.0, "p_value": 1.0}  # the same order
    assert delong_test(truth, perfect, other) == {"z": 0.0, "p_value": 1.0}  # both without a fault
    assert delong_test(truth, perfect, -perfect) == {"z": None, "p_value": None}  # one always right, one always wrong
    assert delong_test(truth[:2001], perfect[:2001], other[:2001]) == {"z": None, "p_value": None}  # one positive


def test_a_class_that_does_not_occur_has_no_difference() -> None:
    test, (one, other) = random_predictions(60, 2.0, 2.0)
    without = TestSet(
        labels=np.where(test.labels == 0, 1, test.labels),
        patients=test.patients,
        classes=CLASSES,
        contents=test.contents,
    )
    found = compare(without, one, other, resamples=50)
    json.dumps(found, allow_nan=False)
    assert found["per_class"]["COVID-19"]["sensitivity"]["value"] is None
    assert found["delong"]["COVID-19"] == {"z": None, "p_value": None}
