"""Drift: whether newer images and their predictions still resemble the first ones that the model scored.

Two windows of images are compared measure by measure. A measure has drifted if its distance is large and
statistically significant. Both are needed: in large windows even irrelevant differences are significant, and in small
windows even two halves of the same images are far apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

Kind = Literal["input", "prediction"]
Statistic = Literal["Kolmogorov-Smirnov", "Jensen-Shannon"]
Typical = float | Mapping[str, float]
"""The median of numbers, or the shares of categories by name, largest change first."""

ALPHA: Final = 0.01
"""Family-wise error rate: the chance of any significant measure in a night, if nothing has changed."""
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity that is compared: `name` in tables, `words` for people; numeric or categorical."""

    name: str
    words: str
    kind: Kind
    numeric: bool


MEASURES: Final = (
    Measure("mean", "brightness", "input", numeric=True),
    Measure("std", "spread of grey values", "input", numeric=True),
    Measure("contrast", "contrast", "input", numeric=True),
    Measure("width", "width", "input", numeric=True),
    Measure("height", "height", "input", numeric=True),
    Measure("aspect", "width / height", "input", numeric=True),
    Measure("bit_depth", "bit depth", "input", numeric=False),
    Measure("channels", "channels", "input", numeric=False),
    Measure("format", "file format", "input", numeric=False),
    Measure("predicted_class", "predicted classes", "prediction", numeric=False),
    Measure("top_probability", "top probability", "prediction", numeric=True),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The comparison of one measure.

    `value` is the distance, 0 to 1. `p_value` is Bonferroni-corrected: the test's own times the number of measures.
    `before` and `now` are typical values of the reference and of the current window. The numbers of images count those
    whose value is known.
    """

    measure: Measure
    statistic: Statistic
    value: float
    p_value: float
    threshold: float
    drifted: bool
    reference_images: int
    current_images: int
    before: Typical
    now: Typical


@dataclass(frozen=True, slots=True)
class _Compared:
    """A measure's distance, before its p-value is corrected for the number of measures."""

    measure: Measure
    value: float
    p_value: float
    sizes: tuple[int, int]
    before: Typical
    now: Typical


def compare(
    reference: Mapping[str, Sequence[Any]],
    current: Mapping[str, Sequence[Any]],
    *,
    threshold: float,
    least: int,
    alpha: float = ALPHA,
) -> tuple[Finding, ...]:
    """Compare two windows of images.

    Numbers are compared by the two-sample Kolmogorov-Smirnov statistic, the largest distance between the two
    cumulative distributions; categories by the Jensen-Shannon distance to base 2 (Lin 1991, Endres and Schindelin
    2003) with a chi-squared test of homogeneity. Both distances are 0 for equal distributions and 1 for disjoint ones.
    Drift is a distance of `threshold` or more whose p-value, times the number of measures (Bonferroni), is below
    `alpha`.

    Args:
        reference: values by the measure's name, one for each image; None if unknown.
        current: the same for the newer images.
        threshold: smallest distance that counts as drift, 0 to 1.
        least: values that a measure needs in each window; a measure with fewer is left out.
        alpha: family-wise error rate.

    Returns:
        The measures compared, in the order of `MEASURES`.
    """
    found = []
    for measure in MEASURES:
        before, now = (list(window.get(measure.name, ())) for window in (reference, current))
        compared = _numbers(measure, before, now, least) if measure.numeric else _shares(measure, before, now, least)
        if compared is not None:
            found.append(compared)
    return tuple(
        Finding(
            measure=one.measure,
            statistic="Kolmogorov-Smirnov" if one.measure.numeric else "Jensen-Shannon",
            value=one.value,
            p_value=min(1.0, one.p_value * len(found)),
            threshold=threshold,
            drifted=one.value >= threshold and one.p_value * len(found) < alpha,
            reference_images=one.sizes[0],
            current_images=one.sizes[1],
            before=one.before,
            now=one.now,
        )
        for one in found
    )


def _numbers(measure: Measure, before: list[Any], now: list[Any], least: int) -> _Compared | None:
    from scipy.stats import ks_2samp

    first, second = _known(before), _known(now)
    if min(first.size, second.size) < max(least, 1):
        return None
    # The exact p-value is slow if the sizes have no common divisor, and is the same near `alpha`.
    tested = ks_2samp(first, second, method="asymp")
    medians = (float(np.median(values)) for values in (first, second))
    return _Compared(measure, float(tested.statistic), float(tested.pvalue), (first.size, second.size), *medians)


def _known(values: list[Any]) -> Numbers:
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return numbers[np.isfinite(numbers)]


def _shares(measure: Measure, before: list[Any], now: list[Any], least: int) -> _Compared | None:
    """Compare shares of categories; "unknown" is one too, since it may become frequent."""
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import chi2_contingency

    if min(len(before), len(now)) < max(least, 1):
        return None
    counters = [Counter(UNKNOWN if value is None else str(value) for value in values) for values in (before, now)]
    names = sorted(set().union(*counters))
    counts = np.array([[counter[name] for name in names] for counter in counters], dtype=np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    # Rounding can give the root of a negative number, NaN, if both are equal.
    distance = float(np.nan_to_num(jensenshannon(shares[0], shares[1], base=2)))
    p_value = float(chi2_contingency(counts, correction=False).pvalue)
    changed = sorted(range(len(names)), key=lambda place: (-abs(shares[1, place] - shares[0, place]), names[place]))
    typical = ({names[place]: float(share[place]) for place in changed} for share in shares)
    return _Compared(measure, distance, p_value, (len(before), len(now)), *typical)
