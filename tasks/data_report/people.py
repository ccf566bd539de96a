"""People: what a sheet of metadata, or the labels themselves, say about those whose radiographs these are."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from models.data.association import Association, associate, usable
from tasks.datasets.dataset import DatasetError
from tasks.labels import sheets
from tasks.labels.expectations import OLDEST, tidy_sex, tidy_view, years

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from tasks.datasets.labelled_images import LabelledImage

    Table = Mapping[str, Mapping[str, int]]
    """Rows by finding, each with the number of every value."""

NOT_GIVEN: Final = "not given"
OTHER: Final = "other"
MOST_FINDINGS, MOST_VIEWS = 7, 7
ALL: Final = "all"
NUMERIC_SHARE: Final = 0.8
"""A column is of numbers where so many of its values are: "38+" among temperatures is left out then."""
NAMES: Final = frozenset({"patient", "key", "sha256", "file", "source"})
"""Columns, named as in `tasks.labels.sheets.SYNONYMS`, that say who or which: neither compared nor shown."""
IDENTIFIER: Final = re.compile(r"(^|_)u?id$")
CANONICAL: Final = ("label", "patient", "sex", "age", "view")
WANTED: Final = "a CSV file with columns such as finding (or label), patient_id, sex, age and view"


@dataclass(frozen=True, slots=True)
class People:
    """What is known of the people, as counts."""

    rows: int
    patients: int | None
    """None: nobody says whose the images are."""
    findings: Mapping[str, int]
    """Rows by finding."""
    ages: Mapping[str, Sequence[float]]
    """Years by finding, each patient once for each."""
    unread_ages: int
    """Ages in words or as bounds, such as 50+; they are not guessed at."""
    sexes: Table
    """By finding, each patient once for each."""
    views: Table
    """By finding, images."""
    columns: Sequence[str]
    """Those that are compared with each other."""
    uncompared: Sequence[str]
    """Others, of which too little is known or which are the same throughout."""
    associations: Mapping[tuple[str, str], Association]
    missing: Mapping[str, int] = field(default_factory=dict)
    """Rows without a value, by column."""

    @property
    def strongest(self) -> list[tuple[str, str, Association]]:
        """The three pairs of columns that go together most, from 0.3 on."""
        pairs = [
            (one, other, found)
            for (one, other), found in self.associations.items()
            if found.value is not None and abs(found.value) >= 0.3 and one < other  # noqa: PLR2004 - Cohen's "medium"
        ]
        return sorted(pairs, key=lambda pair: -abs(pair[2].value or 0))[:3]


def of_sheet(sheet: Path, classes: Sequence[str] = ()) -> People:
    """Read a sheet of metadata, such as the one of ieee8023/covid-chestxray-dataset.

    Args:
        sheet: CSV; which columns are the finding, the patient, sex, age and view is told by
            `tasks.labels.sheets.SYNONYMS`.
        classes: findings that come first, in this order.

    Raises:
        LabelError: it is no CSV in UTF-8.
        DatasetError: it has no rows, or says nothing about people.
    """
    import pandas as pd

    rows = [given for _, given in sheets.table(sheet, (), WANTED)]
    if not rows:
        raise DatasetError(f"{sheet} has a head and no rows")
    own = sheets.columns(sheet)
    known = [name for name in CANONICAL if name in rows[0]]
    if not {"label", "sex", "age", "view"} & set(known):
        raise DatasetError(f"{sheet} has no column finding (or label), sex, age or view: there is nothing to show")
    frame = pd.DataFrame(rows).map(lambda cell: None if str(cell).casefold() in sheets.UNSAID else cell)
    named = {column for name in NAMES for column in sheets.SYNONYMS[name]}
    others = [name for name in frame.columns if name in own and name not in named]
    taken = {next(one for one in sheets.SYNONYMS[name] if one in own) for name in known}
    missing = {str(name): int(frame[name].isna().sum()) for name in frame.columns if name in own}
    more = {
        str(name): _numbers(frame[name]) for name in others if name not in taken and not IDENTIFIER.search(str(name))
    }
    return _people(frame[known].assign(**more), classes, missing)


def of_images(images: Sequence[LabelledImage]) -> People | None:
    """Return what labelled images say of their people; None where they say nothing."""
    import pandas as pd

    told = [(one.label, one.patient, one.sex, one.age, one.view, one.site) for one in images]
    frame = pd.DataFrame(told, columns=[*CANONICAL, "site"]).replace({"": None})
    frame = frame.drop(columns=[name for name in ("sex", "age", "view", "site") if frame[name].isna().all()])
    if not {"sex", "age", "view"} & set(frame.columns):
        return None
    missing = {str(name): int(count) for name, count in frame.drop(columns="patient").isna().sum().items()}
    return _people(frame, sorted({one.label for one in images}), missing)


def _people(frame: pd.DataFrame, classes: Sequence[str], missing: Mapping[str, int]) -> People:
    """Count: `frame` has what it knows of `CANONICAL`, and other columns as they are to be compared."""
    import pandas as pd

    tidy = frame.copy()
    tidy["sex"] = pd.Series([_sex(one) for one in _column(frame, "sex")], frame.index, dtype="object")
    tidy["view"] = pd.Series([tidy_view(one) for one in _column(frame, "view")], frame.index, dtype="object")
    tidy["age"] = pd.Series([_age(one) for one in _column(frame, "age")], frame.index, dtype="float64")
    unread = sum(given is not None for given in _column(frame, "age")) - int(tidy["age"].notna().sum())
    tidy["finding"] = _grouped(_column(frame, "label"), MOST_FINDINGS, classes) if "label" in frame else ALL
    tidy["shown view"] = _grouped(tidy["view"].tolist(), MOST_VIEWS)
    each = _once(tidy)
    findings = _ordered(tidy["finding"].tolist(), classes)
    compared = tidy.drop(columns=["patient", "label", "finding", "shown view"], errors="ignore")
    if "label" in frame:
        compared.insert(0, "finding", tidy["finding"].where(tidy["finding"] != NOT_GIVEN, None))
    columns = usable(compared)
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
    """The values of a column, None for what is missing or where there is no such column."""
    if name not in frame:
        return [None] * len(frame)
    return [None if value is None or value != value else value for value in frame[name]]  # noqa: PLR0124 - NaN


def _once(tidy: pd.DataFrame) -> pd.DataFrame:
    """Each patient once for each finding, with the first age and sex that is known; all rows where nobody is named."""
    if "patient" not in tidy:
        return tidy
    import pandas as pd

    named = tidy[tidy["patient"].notna()]
    once = named.groupby(["patient", "finding"], as_index=False)[["age", "sex"]].first()
    return pd.concat([once, tidy.loc[tidy["patient"].isna(), ["finding", "age", "sex"]]], ignore_index=True)


def _sex(written: str | None) -> str | None:
    return None if written is None else letter if (letter := tidy_sex(written)) in {"F", "M"} else OTHER


def _age(written: object) -> float | None:
    """Years, where a number of them is given that somebody may have."""
    if written is None:
        return None
    given = years(written) if isinstance(written, str) else float(written)  # type: ignore[arg-type] # a number
    return given if math.isfinite(given) and 0 <= given <= OLDEST else None


def _numbers(column: pd.Series) -> pd.Series:
    """The column as numbers where most of what it says is one; else as it is."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    known = int(column.notna().sum())
    return numbers if known and numbers.notna().sum() >= NUMERIC_SHARE * known else column


def _grouped(values: Sequence[str | None], most: int, first: Sequence[str] = ()) -> list[str]:
    """The most frequent values as they are, the rest as one; classes are never lumped together."""
    counts = Counter(value for value in values if value)
    kept = {name for name, _ in counts.most_common(most)} | set(first)
    return [NOT_GIVEN if not value else value if value in kept else OTHER for value in values]


def _ordered(values: Sequence[str], first: Sequence[str] = ()) -> dict[str, int]:
    """How often each value comes: those named first in their order, then the most frequent; what says least is last."""
    counts = Counter(values)
    last = (OTHER, NOT_GIVEN)
    middle = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
              if name not in first and name not in last]  # fmt: skip
    return {name: counts[name] for name in (*first, *middle, *last) if counts[name]}


def _table(frame: pd.DataFrame, column: str, findings: Mapping[str, int]) -> Table:
    values = [NOT_GIVEN if value is None or value != value else value for value in frame[column]]  # noqa: PLR0124 - NaN
    counts = Counter(zip(frame["finding"], values, strict=True))
    return {finding: {value: counts[finding, value] for value in _ordered(values)} for finding in findings}
