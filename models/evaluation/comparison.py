"""Paired comparison of two models on the same images: what the challenger gains or loses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.evaluation.bootstrap import percentile_interval
from models.evaluation.metrics import HEADLINE_METRICS
from models.evaluation.test_set import CONFIDENCE_LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.evaluation.test_set import EvaluatedAnswers

COMPARED_CLASS_METRICS: Final = ("sensitivity", "specificity", "auc")
MIN_VARIANCE: Final = 1e-15
"""Of the difference between two AUCs; less is rounding error."""


def paired_differences(
    champion: EvaluatedAnswers, challenger: EvaluatedAnswers, *, level: float = CONFIDENCE_LEVEL
) -> dict[str, Any]:
    """Compute paired differences, challenger minus champion, with patient bootstrap intervals, and two classical tests.

    McNemar's exact test asks whether one model is right more often where exactly one of them is (McNemar 1947).
    DeLong's test asks whether two areas under ROC curves differ (DeLong, DeLong & Clarke-Pearson 1988). Both assume
    that images are independent, so their p-values are too small where patients have several images. They are shown
    because readers expect them; the intervals, which resample patients, decide.

    Returns:
        JSON-ready: `n`, `patients`, `level`; `metrics` {name: {champion, challenger, value, low, high}}, where value
        is the difference; `per_class` with the same for sensitivity, specificity and auc, and `n`; `mcnemar`
        {only_champion_right, only_challenger_right, p_value}; `delong` {class: {z, p_value}}. None where undefined.
    """
    test = champion.test
    return {
        "n": len(test),
        "patients": len(set(test.patients)),
        "level": level,
        "metrics": {name: metric_difference(champion, challenger, name, level) for name in HEADLINE_METRICS},
        "per_class": {
            name: {
                "n": champion.points["per_class"][name]["n"],
                **{
                    figure: difference_with_interval(
                        champion.points["per_class"][name][figure],
                        challenger.points["per_class"][name][figure],
                        champion.replicates.per_class[figure][:, index],
                        challenger.replicates.per_class[figure][:, index],
                        level,
                    )
                    for figure in COMPARED_CLASS_METRICS
                },
            }
            for index, name in enumerate(test.classes)
        },
        "mcnemar": mcnemar_test(
            test.labels, champion.probabilities.argmax(axis=1), challenger.probabilities.argmax(axis=1)
        ),
        "delong": {
            name: delong_test(
                test.labels == index, champion.probabilities[:, index], challenger.probabilities[:, index]
            )
            for index, name in enumerate(test.classes)
        },
    }


def metric_difference(
    champion: EvaluatedAnswers, challenger: EvaluatedAnswers, name: str, level: float
) -> dict[str, float | None]:
    """Paired difference in one of `models.evaluation.metrics.HEADLINE_METRICS`."""
    return difference_with_interval(
        champion.points[name],
        challenger.points[name],
        champion.replicates.metrics[name],
        challenger.replicates.metrics[name],
        level,
    )


def difference_with_interval(
    champion: float | None,
    challenger: float | None,
    champion_replicates: NDArray[np.float64],
    challenger_replicates: NDArray[np.float64],
    level: float,
) -> dict[str, float | None]:
    """Difference in one figure with its interval; value, low and high are None where either model has none."""
    if champion is None or challenger is None:
        return {"champion": champion, "challenger": challenger, "value": None, "low": None, "high": None}
    low, high = percentile_interval(challenger_replicates - champion_replicates, level)
    return {
        "champion": champion,
        "challenger": challenger,
        "value": challenger - champion,
        "low": low,
        "high": high,
    }


def mcnemar_test(
    labels: NDArray[np.integer[Any]], champion: NDArray[np.integer[Any]], challenger: NDArray[np.integer[Any]]
) -> dict[str, Any]:
    """McNemar's exact test on (n,) predicted classes; two-sided."""
    from statsmodels.stats.contingency_tables import mcnemar as exact_test

    champion_right, challenger_right = champion == labels, challenger == labels
    lost, won = int((champion_right & ~challenger_right).sum()), int((~champion_right & challenger_right).sum())
    both, neither = int((champion_right & challenger_right).sum()), int((~champion_right & ~challenger_right).sum())
    return {
        "only_champion_right": lost,
        "only_challenger_right": won,
        "p_value": float(exact_test([[both, lost], [won, neither]], exact=True).pvalue) if lost + won else 1.0,
    }


def delong_test(
    truth: NDArray[np.bool_], champion: NDArray[np.floating[Any]], challenger: NDArray[np.floating[Any]]
) -> dict[str, float | None]:
    """DeLong's test of two areas under ROC curves on the same images; two-sided, z > 0 if the challenger's is larger.

    Where the variance of the difference is zero (both models rank the images equally, or both separate the classes
    perfectly), the library would fall back to a slow bootstrap by image. This function avoids that: equal areas have
    p = 1, unequal areas None.
    """
    undefined: dict[str, float | None] = {"z": None, "p_value": None}
    positives = int(truth.sum())
    if min(positives, len(truth) - positives) <= 1:  # the variance needs two images on each side
        return undefined
    from MLstatkit import Delong_test
    from scipy.stats import rankdata

    if np.array_equal(rankdata(champion), rankdata(challenger)):
        return {"z": 0.0, "p_value": 1.0}
    with np.errstate(invalid="ignore", divide="ignore"):
        z, p_value, *_, area, other_area, info = Delong_test(truth, champion, challenger, n_boot=2, random_state=0)
    if info["method"] == "delong" and info["var_diff"] > MIN_VARIANCE:
        return {"z": float(z), "p_value": float(p_value)}
    return {"z": 0.0, "p_value": 1.0} if abs(area - other_area) < MIN_VARIANCE else undefined
