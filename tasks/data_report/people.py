"""People: what a metadata sheet or the labels say about the patients."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from models.data.association import Association, associate, comparable_columns
from tasks.datasets.dataset import DatasetError
from tasks.labels import sheets
from tasks.labels.expectations import MAX_AGE_YEARS, age_in_years, normalise_sex, normalise_view

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from tasks.datasets.labelled_images import LabelledImage

    Table = Mapping[str, Mapping[str, int]]
    """Counts by finding and value."""

NOT_GIVEN: Final = "not given"
OTHER: Final = "other"
MAX_FINDINGS, MAX_VIEWS = 7, 7
ALL: Final = "all"
NUMERIC_SHARE: Final = 0.8
"""A column is numeric if at least this share of its values is; others, such as "38+" for a temperature, are dropped."""
IDENTIFYING_COLUMNS: Final = frozenset({"patient", "key", "sha256", "file", "source"})
"""Columns that identify patients or images, named as in `sheets.SYNONYMS`: neither compared nor shown."""
IDENTIFIER: Final = re.compile(r"(^|_)u?id$")
CANONICAL: Final = ("label", "patient", "sex", "age", "view")
EXPECTED_FORMAT: Final = "a CSV file with columns such as finding (or label), patient_id, sex, age and view"


@dataclass(frozen=True, slots=True)
class People:
    """What is known about the patients, as counts."""

    rows: int
    patients: int | None
    """None: the patients are not named."""
    findings: Mapping[str, int]
    """Rows by finding."""
    ages: Mapping[str, Sequence[float]]
    """Years by finding; each patient counts once per finding."""
    unread_ages: int
    """Number of ages in words or as bounds, such as 50+, which are not guessed."""
    sexes: Table
    """By finding; each patient counts once per finding."""
    views: Table
    """By finding; counts images."""
    columns: Sequence[str]
    """Columns that are compared with each other."""
    uncompared: Sequence[str]
    """Columns that are not, since they are constant or have too few values."""
    associations: Mapping[tuple[str, str], Association]
    missing: Mapping[str, int] = field(default_factory=dict)
    """Rows without a value, by column."""

    @property
    def strongest(self) -> list[tuple[str, str, Association]]:
        """The three strongest associations between columns, of at least 0.3."""
        pairs = [
            (one, other, found)
            for (one, other), found in self.associations.items()
            if found.value is not None and abs(found.value) >= 0.3 and one < other  # noqa: PLR2004 - Cohen's "medium"
        ]
        return sorted(pairs, key=lambda pair: -abs(pair[2].value or 0))[:3]


def from_sheet(sheet: Path, classes: Sequence[str] = ()) -> People:
    """Read a metadata sheet, such as the one of ieee8023/covid-chestxray-dataset.

    Args:
        sheet: a CSV file. `tasks.labels.sheets.SYNONYMS` lists the names of the columns for finding, patient, sex, age
            and view.
        classes: findings to list first, in this order.

    Raises:
        LabelError: the file is not CSV in UTF-8.
        DatasetError: the sheet has no rows, or no column about people.
    """
    import pandas as pd

    rows = [given for _, given in sheets.read_table(sheet, (), EXPECTED_FORMAT)]
    if not rows:
        raise DatasetError(f"{sheet} has a header but no rows")
    own = sheets.column_names(sheet)
    known = [name for name in CANONICAL if name in rows[0]]
    if not {"label", "sex", "age", "view"} & set(known):
        raise DatasetError(f"{sheet} has no column finding (or label), sex, age or view: there is nothing to show")
    frame = pd.DataFrame(rows).map(lambda cell: None if str(cell).casefold() in sheets.EMPTY_WORDS else cell)
    named = {column for name in IDENTIFYING_COLUMNS for column in sheets.SYNONYMS[name]}
    others = [name for name in frame.columns if name in own and name not in named]
    taken = {next(one for one in sheets.SYNONYMS[name] if one in own) for name in known}
    missing = {str(name): int(frame[name].isna().sum()) for name in frame.columns if name in own}
    more = {
        str(name): _numbers(frame[name]) for name in others if name not in taken and not IDENTIFIER.search(str(name))
    }
    return _people(frame[known].assign(**more), classes, missing)


def from_images(images: Sequence[LabelledImage]) -> People | None:
    """Return what labelled images say about their patients; None if they have neither sex, age nor view."""
    import pandas as pd

    told = [(one.label, one.patient, one.sex, one.age, one.view, one.site) for one in images]
    frame = pd.DataFrame(told, columns=[*CANONICAL, "site"]).replace({"": None})
    frame = frame.drop(columns=[name for name in ("sex", "age", "view", "site") if frame[name].isna().all()])
    if not {"sex", "age", "view"} & set(frame.columns):
        return None
    missing = {str(name): int(count) for name, count in frame.drop(columns="patient").isna().sum().items()}
    return _people(frame, sorted({one.label for one in images}), missing)


def _people(frame: pd.DataFrame, classes: Sequence[str], missing: Mapping[str, int]) -> People:
    """Count `frame`, which has some of the columns `CANONICAL`, and further columns to compare."""
    import pandas as pd

    tidy = frame.copy()
    tidy["sex"] = pd.Series([_sex(one) for one in _column(frame, "sex")], frame.index, dtype="object")
    tidy["view"] = pd.Series([normalise_view(one) for one in _column(frame, "view")], frame.index, dtype="object")
    tidy["age"] = pd.Series([_age(one) for one in _column(frame, "age")], frame.index, dtype="float64")
    unread = sum(given is not None for given in _column(frame, "age")) - int(tidy["age"].notna().sum())
    tidy["finding"] = _lump_rare_values(_column(frame, "label"), MAX_FINDINGS, classes) if "label" in frame else ALL
    tidy["shown view"] = _lump_rare_values(tidy["view"].tolist(), MAX_VIEWS)
    each = _one_row_per_finding(tidy)
    findings = _count_in_order(tidy["finding"].tolist(), classes)
    compared = tidy.drop(columns=["patient", "label", "finding", "shown view"], errors="ignore")
    if "label" in frame:
        compared.insert(0, "finding", tidy["finding"].where(tidy["finding"] != NOT_GIVEN, None))
    columns = comparable_columns(compared)
    associations = {
        (one, other): associate(compared[one], compared[other]) for one in columns for other in columns if one != other
    }
    columns = [
        one for one in columns if any(pair[0] == one and a.value is not None for pair, a in associations.items())
    ]
    return People(
        rows=len(tidy),
        patients=int(tidy["patient"].dropna().nunique()) if "patient" in tidy else None,
        findings=findings,
        ages={name: sorted(each.loc[each["finding"] == name, "age"].dropna().tolist()) for name in findings},
        unread_ages=unread,
        sexes=_table(each, "sex", findings) if "sex" in frame else {},
        views=_table(tidy, "shown view", findings) if "view" in frame else {},
        columns=columns,
        uncompared=[str(name) for name in compared.columns if name not in columns and compared[name].notna().any()],
        associations=associations,
        missing=missing,
    )  # fmt: skip


def _column(frame: pd.DataFrame, name: str) -> list[Any]:
    """The values of a column; None for missing values, and for all rows if there is no such column."""
    if name not in frame:
        return [None] * len(frame)
    return [None if value is None or value != value else value for value in frame[name]]  # noqa: PLR0124 - NaN


def _one_row_per_finding(tidy: pd.DataFrame) -> pd.DataFrame:
    """One row per patient and finding, with the first known age and sex; rows without a patient stay as they are."""
    if "patient" not in tidy:
        return tidy
    import pandas as pd

    named = tidy[tidy["patient"].notna()]
    once = named.groupby(["patient", "finding"], as_index=False)[["age", "sex"]].first()
    return pd.concat([once, tidy.loc[tidy["patient"].isna(), ["finding", "age", "sex"]]], ignore_index=True)


def _sex(written: str | None) -> str | None:
    return None if written is None else letter if (letter := normalise_sex(written)) in {"F", "M"} else OTHER


def _age(written: object) -> float | None:
    """An age in years; None if it is missing, not a number or implausible."""
    if written is None:
        return None
    given = age_in_years(written) if isinstance(written, str) else float(written)  # type: ignore[arg-type] # a number
    return given if math.isfinite(given) and 0 <= given <= MAX_AGE_YEARS else None


def _numbers(column: pd.Series) -> pd.Series:
    """The column as numbers if most of its values are numeric; otherwise unchanged."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    known = int(column.notna().sum())
    return numbers if known and numbers.notna().sum() >= NUMERIC_SHARE * known else column


def _lump_rare_values(values: Sequence[str | None], most: int, first: Sequence[str] = ()) -> list[str]:
    """Keep the most frequent values and those in `first`, and lump the rest together as "other"."""
    counts = Counter(value for value in values if value)
    kept = {name for name, _ in counts.most_common(most)} | set(first)
    return [NOT_GIVEN if not value else value if value in kept else OTHER for value in values]


def _count_in_order(values: Sequence[str], first: Sequence[str] = ()) -> dict[str, int]:
    """Count values: those in `first` in their order, then the others by frequency, then "other" and "not given"."""
    counts = Counter(values)
    last = (OTHER, NOT_GIVEN)
    middle = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
              if name not in first and name not in last]  # fmt: skip
    return {name: counts[name] for name in (*first, *middle, *last) if counts[name]}


def _table(frame: pd.DataFrame, column: str, findings: Mapping[str, int]) -> Table:
    values = [NOT_GIVEN if value is None or value != value else value for value in frame[column]]  # noqa: PLR0124 - NaN
    counts = Counter(zip(frame["finding"], values, strict=True))
    return {finding: {value: counts[finding, value] for value in _count_in_order(values)} for finding in findings}
