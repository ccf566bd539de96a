"""Labels: ground truth that people bring in, kept by image content with its source."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from infra import database
from models.anatomy import CLASSES
from sql.library import query
from tasks import registry
from tasks.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import sqlalchemy as sa

COLUMNS = ("object_key", "class", "patient_id")
NAMED = 10
"""Unknown classes that a message names at most: a sheet with the wrong column under `class` has thousands."""

ALIKE = 0.86
"""How alike two spellings must be for the one to be a typo of the other; ABNORMAL is none of NORMAL."""


class LabelError(RuntimeError):
    """The sheet cannot be read, or holds what must not become a label."""


@dataclass(frozen=True, slots=True)
class Added:
    """What came of a sheet."""

    written: int
    """Labels, one for each image content."""
    rows: int
    left_out: int
    """Rows of images never scored here."""

    def __str__(self) -> str:
        """In words; what did not happen is not spoken of."""
        said = [f"{counted(self.written, 'label')} written from {counted(self.rows, 'row')}"]
        if self.left_out:
            said.append(f"{counted(self.left_out, 'row')} left out: no image of that key was ever scored here")
        if repeated := self.rows - self.left_out - self.written:
            said.append(f"{counted(repeated, 'row')} more on the same content as another")
        return "; ".join(said)


def add(pool: sa.Engine, bucket: str, sheet: Path, source: str, new_classes: Sequence[str] = ()) -> Added:
    """Read a CSV sheet (object_key, class, patient_id) into the labels; a source's newer label replaces its older one.

    Args:
        pool: connections to the database.
        bucket: where the sheet's objects lie.
        sheet: the file, in UTF-8.
        source: who says so.
        new_classes: classes to take beside the known ones.

    Raises:
        LabelError: the sheet cannot be read, or names an unknown class; nothing was written.
    """
    rows = read_sheet(sheet, COLUMNS)
    _refuse_unknown(sheet, [row[1] for row in rows], (*known_classes(pool), *new_classes))
    with database.transaction(pool) as cursor:
        cursor.execute(
            "create temporary table sheet (line bigint, object_key text, class text not null, patient_id text not null)"
            " on commit drop"
        )
        database.copy(cursor, "sheet", ((line, *row) for line, row in enumerate(rows)))
        cursor.execute(query("add_labels"), {"bucket": bucket, "source": source})
        written, found = cursor.fetchone() or (0, 0)
        return Added(written, len(rows), len(rows) - found)


def known_classes(pool: sa.Engine) -> tuple[str, ...]:
    """Return the champion's classes where it knows others than the project does, else the project's."""
    try:
        champions = registry.champion(pool).classes
    except registry.RegistryError:
        return CLASSES
    return CLASSES if set(champions) <= set(CLASSES) else champions


def read_sheet(sheet: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Read some columns of a CSV file in UTF-8, with or without a byte order mark.

    Returns:
        A tuple for each row, in the order of `columns`; no value is empty.

    Raises:
        LabelError: it is empty, not UTF-8, no CSV, or lacks a column or a value.
    """
    wanted = f"a CSV file with the columns {', '.join(columns)} is wanted"
    try:
        text = sheet.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 without its mark is full of them
        raise LabelError(f"{sheet} is no text in UTF-8: {wanted}; save it as 'CSV UTF-8' (not as 'Unicode text')")
    if not text.strip():
        raise LabelError(f"{sheet} is empty: {wanted}")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise LabelError(f"{sheet} has no column {', '.join(missing)}: {wanted}, separated by commas")
        rows = []
        for row in reader:
            values = tuple(row[name] for name in columns)
            if all(values):
                rows.append(values)
            elif any(values):  # else a line of commas, as spreadsheet programs leave them at the end
                empty = ", ".join(name for name, value in zip(columns, values, strict=True) if not value)
                raise LabelError(f"{sheet}, line {reader.line_num}: no {empty}")
    except csv.Error as error:
        raise LabelError(f"{sheet} is no CSV ({error}): {wanted}") from None
    return rows


def _refuse_unknown(sheet: Path, found: Iterable[str], known: Sequence[str]) -> None:
    """Raise `LabelError` where classes are unknown: a typo would be a class of the next model."""
    unknown = Counter(one for one in found if one not in known)
    if not unknown:
        return
    folded = {_bare(one): one for one in known}
    named = []
    for one, count in unknown.most_common(NAMED):
        near = get_close_matches(_bare(one), folded, n=1, cutoff=ALIKE)
        named.append(f"'{one}' ({counted(count, 'row')}" + (f"; did you mean {folded[near[0]]}?)" if near else ")"))
    if len(unknown) > NAMED:
        named.append(f"{len(unknown) - NAMED} more")
    raise LabelError(
        f"{sheet}: unknown {'class' if len(unknown) == 1 else 'classes'} {', '.join(named)}; known are "
        f"{', '.join(dict.fromkeys(known))}. Nothing was written. Mend the sheet, or take a class that is meant with "
        "--new-class NAME"
    )


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
