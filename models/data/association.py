"""Association: how strongly two columns of a table are related, with the measure that suits their types.

Two numeric columns: Pearson's r. A numeric column and one with two categories: the point-biserial correlation, which is
Pearson's r with the categories coded as 0 and 1. A numeric column and one with more categories: the correlation ratio
eta (Fisher), which has no sign. Two categorical columns: Cramer's V (1946). In small tables V and eta are biased
upwards, so both are corrected (Bergsma, Journal of the Korean Statistical Society 2013; Kelley's epsilon squared, PNAS
1935).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS: Final = 10
"""Minimum number of rows in which both columns are known; with fewer, any result is chance."""
MIN_CATEGORY_ROWS: Final = 3
"""Minimum number of these rows that a category must have, for the same reason."""
MAX_CATEGORIES: Final = 12
"""A text column with more values than this is free text or an identifier."""
BINARY: Final = 2


@dataclass(frozen=True, slots=True)
class Association:
    """The association of two columns."""

    value: float | None
    """-1 to 1, or 0 to 1 for eta and V; None if a column is constant or too few rows have both values."""
    n: int
    """Number of rows with both values, without categories that have fewer than three such rows."""
    measure: str


def comparable_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns that can be compared: not constant, and either numeric or text with repeated values."""
    found = []
    for name in frame.columns:
        known = frame[name].dropna()
        values = known.nunique()
        if (
            len(known) >= MIN_ROWS
            and values > 1
            and (_is_number(known) or values <= min(MAX_CATEGORIES, len(known) / BINARY))
        ):
            found.append(str(name))
    return found


def associate(one: pd.Series, other: pd.Series) -> Association:
    """Return the association of two columns of one table."""
    first, second = sorted(_rows_with_both(one, other), key=_is_number, reverse=True)
    n, numbers = len(first), _is_number(first) + _is_number(second)
    groups = second.nunique()
    measure = ("Cramér's V", "point-biserial" if groups <= BINARY else "correlation ratio", "Pearson")[numbers]
    if n < MIN_ROWS or first.nunique() < BINARY or groups < BINARY:
        return Association(None, n, measure)
    if measure == "Cramér's V":
        return Association(_cramer(first, second), n, measure)
    if measure == "correlation ratio":
        return Association(_eta(first, second), n, measure)
    return Association(
        _pearson(first, second if numbers == BINARY else second == value_coded_as_one(second)), n, measure
    )


def value_coded_as_one(values: pd.Series) -> str:
    """Return which of a column's two values is coded as 1: the last in alphabetical order."""
    return str(max(values.dropna().unique(), key=str))


def _is_number(values: pd.Series) -> bool:
    from pandas.api.types import is_numeric_dtype

    return bool(is_numeric_dtype(values))


def _rows_with_both(one: pd.Series, other: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The rows with both values, without those of a rare category."""
    kept = one.notna() & other.notna()
    for _ in range(2):  # leaving out rows for one column may make a category of the other rare
        for column in (one, other):
            if not _is_number(column):
                kept &= column.map(column[kept].value_counts()).fillna(0) >= MIN_CATEGORY_ROWS
    return one[kept], other[kept]


def _pearson(one: pd.Series, other: pd.Series) -> float:
    from scipy.stats import pearsonr

    return float(pearsonr(one.astype(float), other.astype(float)).statistic)


def _eta(numbers: pd.Series, categories: pd.Series) -> float:
    numbers = numbers.astype(float)
    n, groups = len(numbers), categories.nunique()
    total = float(((numbers - numbers.mean()) ** 2).sum())
    within = float(((numbers - numbers.groupby(categories).transform("mean")) ** 2).sum())
    explained = 1 - (within / total) * (n - 1) / max(n - groups, 1)
    return float(np.sqrt(max(explained, 0.0)))


def _cramer(one: pd.Series, other: pd.Series) -> float:
    import pandas as pd
    from scipy.stats import chi2_contingency

    table = pd.crosstab(one, other).to_numpy()
    n, (rows, columns) = table.sum(), table.shape
    phi = max(float(chi2_contingency(table, correction=False).statistic) / n - (rows - 1) * (columns - 1) / (n - 1), 0)
    least = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return float(min(np.sqrt(phi / least), 1.0)) if least > 0 else 0.0
