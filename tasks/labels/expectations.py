"""The expectations for a sheet of labels, as one Great Expectations suite, and the verdict on each row.

A row without a valid image, class or patient is refused. An invalid sex or age does not cost the label: the value is
left out, with a note.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from tasks.labels.sheets import LATERAL_WORDS, Row, RowNote
from tasks.validation.verdicts import ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITE: Final = "labels"
MAX_AGE_YEARS: Final = 130
"""Years. The oldest person on record reached 122."""
SEXES: Final = {"f": "F", "female": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}
DICOM_YEARS: Final = re.compile(r"(\d{3})Y")
"""An age in years as DICOM writes it (value representation AS): 045Y."""
_RESULT_FORMAT: Final = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": ["place"],
    "include_unexpected_rows": False,
    "return_unexpected_index_query": False,
}


@dataclass(frozen=True, slots=True)
class ValidatedRows:
    """The verdict on each row. `accepted` and `unknown_class` are indices into the input rows and into `rows`."""

    rows: tuple[Row, ...]
    """All rows in input order, with normalised sex, age (digits only) and view; None where a value is bad."""
    accepted: tuple[int, ...]
    unknown_class: tuple[int, ...]
    """Valid rows whose class is unknown."""
    refused: tuple[RowNote, ...]
    notes: tuple[RowNote, ...]
    """Values left out of rows that were not refused."""


def validate_rows(rows: Sequence[Row], images: Sequence[str | None], classes: Sequence[str]) -> ValidatedRows:
    """Check the rows of a sheet against the expectations, in one batch.

    Args:
        rows: the rows as read.
        images: what identifies each row's image: the content's sha256 if known, else the key; None if neither.
        classes: the known classes.

    Raises:
        ValidationError: Great Expectations could not evaluate an expectation.
    """
    tidy = [replace(row, view=normalise_view(row.view), sex=normalise_sex(row.sex)) for row in rows]
    if not tidy:
        return ValidatedRows((), (), (), (), ())
    broken = _evaluate(_frame(tidy, images), classes)
    cleaned, accepted, unknown, refused, notes = [], [], [], [], []
    for place, row in enumerate(tidy):
        found = broken[place]
        if needed := [words for kind, words in found if kind == "needed"]:
            refused.append(RowNote(row.line, row.name, "; ".join(needed)))
        elif any(kind == "class" for kind, _ in found):
            unknown.append(place)
        else:
            accepted.append(place)
        invalid = {words for kind, words in found if kind == "optional"}
        if not needed:
            notes += [RowNote(row.line, row.name, f"{name} {getattr(row, name)!r} left out: {words}")
                      for name, words in (("sex", INVALID_SEX), ("age", INVALID_AGE)) if words in invalid]  # fmt: skip
        age = None if row.age is None or INVALID_AGE in invalid else f"{age_in_years(row.age):g}"
        cleaned.append(replace(row, sex=None if INVALID_SEX in invalid else row.sex, age=age))
    return ValidatedRows(tuple(cleaned), tuple(accepted), tuple(unknown), tuple(refused), tuple(notes))


INVALID_SEX: Final = "it is neither F nor M"
INVALID_AGE: Final = f"it is not a number of years from 0 to {MAX_AGE_YEARS}"


def _expectations(classes: Sequence[str]) -> list[Any]:
    """Return the suite's expectations; `meta` says what happens to a row that fails one."""
    gxe = import_module("great_expectations.expectations")

    def needed(words: str) -> dict[str, str]:
        return {"kind": "needed", "words": words}

    return [
        gxe.ExpectColumnValuesToNotBeNull(column="label", meta=needed("no label")),
        gxe.ExpectColumnValuesToNotBeNull(column="patient", meta=needed("no patient_id")),
        gxe.ExpectColumnValuesToNotBeNull(column="image", meta=needed("it names no image")),
        gxe.ExpectColumnValuesToMatchRegex(
            column="sha256", regex="^[0-9a-f]{64}$", meta=needed("its sha256 is not 64 hexadecimal digits")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="words_on_image", max_value=1,
            meta=needed("another row contradicts it about the same image: label or patient_id differ"),
        ),
        gxe.ExpectColumnValuesToBeInSet(column="label", value_set=list(classes), meta={"kind": "class", "words": ""}),
        gxe.ExpectColumnValuesToBeInSet(
            column="sex", value_set=["F", "M"], meta={"kind": "optional", "words": INVALID_SEX}
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="age", min_value=0, max_value=MAX_AGE_YEARS, meta={"kind": "optional", "words": INVALID_AGE}
        ),
    ]  # fmt: skip


def _frame(rows: Sequence[Row], images: Sequence[str | None]) -> Any:
    import pandas as pd

    words = defaultdict(set)
    for row, image in zip(rows, images, strict=True):
        words[image, row.source].add((row.label, row.patient))
    table = pd.DataFrame(
        {
            "label": [row.label or None for row in rows],
            "patient": [row.patient or None for row in rows],
            "image": list(images),
            "sha256": [row.sha256 for row in rows],
            "sex": [row.sex for row in rows],
        },
        dtype="object",
    )
    # Infinity stands for an age that is not a number: it fails the expectation, and the column stays numeric.
    return table.assign(
        age=pd.Series([None if row.age is None else age_in_years(row.age) for row in rows], dtype="float64"),
        words_on_image=[float(len(words[image, row.source])) for row, image in zip(rows, images, strict=True)],
        place=range(len(rows)),
    )


def _evaluate(frame: Any, classes: Sequence[str]) -> defaultdict[int, list[tuple[str, str]]]:
    from tasks.validation.context import new_context, quiet_great_expectations

    suite = quiet_great_expectations().ExpectationSuite(name=SUITE, expectations=_expectations(classes))
    batches = new_context().data_sources.add_pandas("sheets").add_dataframe_asset("sheet")
    batch = batches.add_batch_definition_whole_dataframe("sheet").get_batch({"dataframe": frame})
    broken: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    for outcome in batch.validate(suite, result_format=_RESULT_FORMAT).results:
        meta = outcome.expectation_config.meta
        places = outcome.result.get("unexpected_index_list") or []
        if len(places) != outcome.result.get("unexpected_count", -1) or outcome.success != (not places):
            error = ValidationError(f"an expectation on labels could not be evaluated ({meta['kind']})")
            error.add_note(str(outcome.exception_info))
            raise error
        for place in places:
            broken[int(place["place"])].append((meta["kind"], meta["words"]))
    return broken


def normalise_sex(written: str | None) -> str | None:
    """Return F or M for the words that mean them, and anything else unchanged."""
    return None if written is None else SEXES.get(written.casefold(), written)


def age_in_years(written: str) -> float:
    """Return an age in years, from a plain number or a DICOM age string; infinity if it is not a number."""
    known = DICOM_YEARS.fullmatch(written.upper())
    try:
        years = float(known.group(1) if known else written)
    except ValueError:
        return math.inf
    return math.inf if math.isnan(years) else years


def normalise_view(written: str | None) -> str | None:
    """Return PA, AP, AP supine ... in one spelling, and "lateral" for every lateral view."""
    if written is None:
        return None
    words = written.casefold().replace("_", " ").split()
    if " ".join(words) in LATERAL_WORDS:
        return "lateral"
    return " ".join([words[0].upper() if words[0] in ("pa", "ap") else words[0], *words[1:]]) if words else None
