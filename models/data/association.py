"""Association: how strongly two columns of a table go together, with the measure that suits their kinds.

Two numbers: Pearson's r. A number and a column of two values: the point-biserial correlation, which is Pearson's r with
the values as 0 and 1. A number and more values: the correlation ratio eta (Fisher), which has no sign. Two columns of
categories: Cramer's V (1946). V and eta are above zero by chance alone in small tables, so both are corrected for that
(Bergsma, Journal of the Korean Statistical Society 2013; Kelley's epsilon squared, PNAS 1935).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

LEAST_PAIRS: Final = 10
"""Rows that must know both columns: of fewer, any figure is chance."""
LEAST_ALIKE: Final = 3
"""Rows of which a value in words must be, among those that know both columns, for the same reason."""
MOST_VALUES: Final = 12
"""A column of words with more values than this is free text or names something."""
BINARY: Final = 2


@dataclass(frozen=True, slots=True)
class Association:
    """How two columns go together."""

    value: float | None
    """-1 to 1; 0 to 1 for eta and V; None where too few rows know both, or one column is the same throughout."""
    n: int
    """Rows that know both, without values of fewer than three of these."""
    measure: str


def usable(frame: pd.DataFrame) -> list[str]:
    """Return the columns that may be compared: numbers, and words that come again; neither the same throughout."""
    found = []
    for name in frame.columns:
        known = frame[name].dropna()
        values = known.nunique()
        if (
            len(known) >= LEAST_PAIRS
            and values > 1
            and (_is_number(known) or values <= min(MOST_VALUES, len(known) / BINARY))
        ):
            found.append(str(name))
    return found


def associate(one: pd.Series, other: pd.Series) -> Association:
    """Return how two columns of one table go together."""
    first, second = sorted(_both(one, other), key=_is_number, reverse=True)
    n, numbers = len(first), _is_number(first) + _is_number(second)
    groups = second.nunique()
    measure = ("Cramér's V", "point-biserial" if groups <= BINARY else "correlation ratio", "Pearson")[numbers]
    if n < LEAST_PAIRS or first.nunique() < BINARY or groups < BINARY:
        return Association(None, n, measure)
    if measure == "Cramér's V":
        return Association(_cramer(first, second), n, measure)
    if measure == "correlation ratio":
        return Association(_eta(first, second), n, measure)
    return Association(_pearson(first, second if numbers == BINARY else second == coded(second)), n, measure)


def coded(values: pd.Series) -> str:
    """Return which of a column's two values counts as 1: the last in alphabetical order."""
    return str(max(values.dropna().unique(), key=str))


def _is_number(values: pd.Series) -> bool:
    from pandas.api.types import is_numeric_dtype

    return bool(is_numeric_dtype(values))


def _both(one: pd.Series, other: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The rows that know both, without those whose value in words is rare among them."""
    known = one.notna() & other.notna()
    for _ in range(BINARY):  # leaving out rows for the one may make a value of the other rare
        for words in (one, other):
            if not _is_number(words):
                known &= words.map(words[known].value_counts()).fillna(0) >= LEAST_ALIKE
    return one[known], other[known]


def _pearson(one: pd.Series, other: pd.Series) -> float:
    from scipy.stats import pearsonr

    return float(pearsonr(one.astype(float), other.astype(float)).statistic)


def _eta(numbers: pd.Series, words: pd.Series) -> float:
    numbers = numbers.astype(float)
    n, groups = len(numbers), words.nunique()
    whole = float(((numbers - numbers.mean()) ** 2).sum())
    within = float(((numbers - numbers.groupby(words).transform("mean")) ** 2).sum())
    explained = 1 - (within / whole) * (n - 1) / max(n - groups, 1)
    return float(np.sqrt(max(explained, 0.0)))


def _cramer(one: pd.Series, other: pd.Series) -> float:
    import pandas as pd
    from scipy.stats import chi2_contingency

    table = pd.crosstab(one, other).to_numpy()
    n, (rows, columns) = table.sum(), table.shape
    phi = max(float(chi2_contingency(table, correction=False).statistic) / n - (rows - 1) * (columns - 1) / (n - 1), 0)
    least = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return float(min(np.sqrt(phi / least), 1.0)) if least > 0 else 0.0
