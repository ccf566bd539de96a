"""Two models on the same images: what the challenger gains or loses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.evaluation.bootstrap import interval
from models.evaluation.metrics import HEADLINES
from models.evaluation.test_set import LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.evaluation.test_set import Answers

PER_CLASS: Final = ("sensitivity", "specificity", "auc")
LEAST_VARIANCE: Final = 1e-15
"""Of the difference of two areas; less is rounding."""


def between(champion: Answers, challenger: Answers, *, level: float = LEVEL) -> dict[str, Any]:
    """Paired differences, challenger minus champion, with intervals of the patient bootstrap; and two classical tests.

    McNemar's exact test asks whether one model is right more often where just one of them is (McNemar 1947). DeLong's
    asks whether two areas under ROC curves differ (DeLong, DeLong & Clarke-Pearson 1988). Both take images for
    independent, which those of one patient are not, so their p-values come out too small where patients have several.
    They are shown because readers look for them; the intervals, which resample patients, decide.

    Returns:
        JSON-ready: `n`, `patients`, `level`; `metrics` {name: {champion, challenger, value, low, high}}, where value
        is the difference; `per_class` the same of sensitivity, specificity and auc, with `n`; `mcnemar`
        {only_champion_right, only_challenger_right, p_value}; `delong` {class: {z, p_value}}. None where undefined.
    """
    test = champion.test
    return {
        "n": len(test),
        "patients": len(set(test.patients)),
        "level": level,
        "metrics": {name: metric_difference(champion, challenger, name, level) for name in HEADLINES},
        "per_class": {
            name: {
                "n": champion.points["per_class"][name]["n"],
                **{
                    figure: difference(
                        champion.points["per_class"][name][figure],
                        challenger.points["per_class"][name][figure],
                        champion.replicates.per_class[figure][:, index],
                        challenger.replicates.per_class[figure][:, index],
                        level,
                    )
                    for figure in PER_CLASS
                },
            }
            for index, name in enumerate(test.classes)
        },
        "mcnemar": mcnemar(test.labels, champion.probabilities.argmax(axis=1), challenger.probabilities.argmax(axis=1)),
        "delong": {
            name: delong(test.labels == index, champion.probabilities[:, index], challenger.probabilities[:, index])
            for index, name in enumerate(test.classes)
        },
    }


def metric_difference(champion: Answers, challenger: Answers, name: str, level: float) -> dict[str, float | None]:
    """Paired difference in one of `models.evaluation.metrics.HEADLINES`."""
    return difference(
        champion.points[name],
        challenger.points[name],
        champion.replicates.metrics[name],
        challenger.replicates.metrics[name],
        level,
    )


def difference(
    champion: float | None,
    challenger: float | None,
    champion_replicates: NDArray[np.float64],
    challenger_replicates: NDArray[np.float64],
    level: float,
) -> dict[str, float | None]:
    """Difference of one figure with its interval; all None where either model has none."""
    if champion is None or challenger is None:
        return {"champion": champion, "challenger": challenger, "value": None, "low": None, "high": None}
    low, high = interval(challenger_replicates - champion_replicates, level)
    return {
        "champion": champion,
        "challenger": challenger,
        "value": challenger - champion,
        "low": low,
        "high": high,
    }


def mcnemar(
    labels: NDArray[np.integer[Any]], champion: NDArray[np.integer[Any]], challenger: NDArray[np.integer[Any]]
) -> dict[str, Any]:
    """McNemar's exact test on (n,) predicted classes; two-sided."""
    from statsmodels.stats.contingency_tables import mcnemar as exact

    one, other = champion == labels, challenger == labels
    lost, won = int((one & ~other).sum()), int((~one & other).sum())
    table = [[int((one & other).sum()), lost], [won, int((~one & ~other).sum())]]
    return {
        "only_champion_right": lost,
        "only_challenger_right": won,
        "p_value": float(exact(table, exact=True).pvalue) if lost + won else 1.0,
    }


def delong(
    truth: NDArray[np.bool_], champion: NDArray[np.floating[Any]], challenger: NDArray[np.floating[Any]]
) -> dict[str, float | None]:
    """DeLong's test of two areas under ROC curves on the same images; two-sided, z > 0 where the challenger's is more.

    Where the variance of the difference is zero (both put the images in the same order, or both separate them
    without a fault) the library would fall back to a slow bootstrap by image. That is cut short here: equal areas have
    p = 1, unequal ones None.
    """
    unknown: dict[str, float | None] = {"z": None, "p_value": None}
    positives = int(truth.sum())
    if min(positives, len(truth) - positives) <= 1:  # its variance takes two of each
        return unknown
    from MLstatkit import Delong_test
    from scipy.stats import rankdata

    if np.array_equal(rankdata(champion), rankdata(challenger)):
        return {"z": 0.0, "p_value": 1.0}
    with np.errstate(invalid="ignore", divide="ignore"):
        z, p_value, *_, area, other_area, info = Delong_test(truth, champion, challenger, n_boot=2, random_state=0)
    if info["method"] == "delong" and info["var_diff"] > LEAST_VARIANCE:
        return {"z": float(z), "p_value": float(p_value)}
    return {"z": 0.0, "p_value": 1.0} if abs(area - other_area) < LEAST_VARIANCE else unknown
