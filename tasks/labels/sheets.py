"""Sheets: read labels from a CSV file, or from a folder with one sub-folder per class, into rows."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SHEET_NAME: Final = "labels.csv"
"""The file name of a folder's sheet."""
SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "key": ("object_key", "key", "s3_key", "path"),
    "sha256": ("sha256", "content_sha256"),
    "file": ("file", "filename", "file_name", "image"),
    "label": ("label", "class", "finding", "diagnosis"),
    "patient": ("patient_id", "patientid", "patient"),
    "source": ("source", "reader", "labelled_by"),
    "view": ("view", "view_position", "projection"),
    "sex": ("sex", "gender"),
    "age": ("age", "patient_age"),
    "site": ("site", "hospital", "institution"),
}
"""Accepted column names, case-insensitive, with spaces or hyphens for underscores. The first one present counts."""
EXPECTED_FORMAT: Final = (
    "a CSV file with the columns object_key (or sha256), label, patient_id and, where --source is not given, source"
)
ADJUDICATION: Final = "adjudication"
"""The source that overrides all others."""
LATERAL_WORDS: Final = frozenset({"l", "ll", "rl", "lat", "lateral", "left lateral", "right lateral", "ap lateral"})
"""Words for a lateral view."""
EMPTY_WORDS: Final = frozenset({"", "?", "-", "n/a", "na", "nan", "null", "none", "unknown", "todo", "unspecified"})
"""Words in a cell that mean "no value"."""


class LabelError(RuntimeError):
    """The sheet cannot be read, or holds something that must not become a label."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a label that a source gives to one image. Its representation names neither image nor patient."""

    line: int
    """Line in the file; for a folder without a sheet, the position of the image file, from 1."""
    label: str
    """As written."""
    patient: str = field(repr=False)
    source: str
    key: str | None = field(default=None, repr=False)
    sha256: str | None = None
    file: Path | None = field(default=None, repr=False)
    """The image file, where the sheet came with images."""
    view: str | None = None
    sex: str | None = None
    age: str | None = None
    site: str | None = None

    @property
    def name(self) -> str:
        """The image's name in the sheet."""
        return self.key or (self.file.name if self.file else None) or self.sha256 or ""


@dataclass(frozen=True, slots=True)
class RowNote:
    """A note on a row: why it did not become a label, or which value was left out."""

    line: int
    name: str = field(repr=False)
    why: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """The rows of a sheet, and those that its reader left out on purpose."""

    rows: tuple[Row, ...]
    left_out: tuple[RowNote, ...] = ()


def read(path: Path, source: str | None = None) -> Sheet:
    """Read a sheet, or a folder with or without one.

    Args:
        path: a CSV file, or a folder with one sub-folder per class. If the folder has a labels.csv (file, label,
            patient_id ...), that describes its files; otherwise each file counts as a separate patient.
        source: the source of rows that name none.

    Raises:
        LabelError: the sheet cannot be read, or names no source.
    """
    if not path.is_dir():
        return Sheet(tuple(_row(line, values, source, path) for line, values in read_table(path, ("label", "patient"))))
    sheet = path / SHEET_NAME
    if sheet.is_file():
        return Sheet(
            tuple(
                replace(
                    _row(line, given, source, sheet),
                    file=path_inside(path, given["file"], f"{sheet}, line {line}"),
                    key=None,
                )
                for line, given in read_table(sheet, ("file", "label", "patient"))
            )
        )
    if not source:
        raise LabelError(f"{path} has no {SHEET_NAME} that names a source: name it with --source NAME")
    files = [one for one in sorted(path.glob("*/*")) if one.is_file() and not one.name.startswith(".")]
    if not files:
        raise LabelError(f"{path} holds no images: one sub-folder per class is expected, such as NORMAL/")
    # The class is part of the patient id: the same file name in two sub-folders must not become one patient.
    return Sheet(
        tuple(
            Row(place, one.parent.name, f"{one.parent.name}/{one.stem}", canonical_source(source), file=one)
            for place, one in enumerate(files, start=1)
        )
    )


def canonical_source(source: str) -> str:
    """Return a source's name as it is stored: any spelling of adjudication becomes `ADJUDICATION`."""
    name = " ".join(source.split())
    return ADJUDICATION if name.casefold() == ADJUDICATION else name


def column_names(sheet: Path) -> frozenset[str]:
    """Return a sheet's column names, normalised: lower case, with underscores."""
    return frozenset(_normalise(name) for name in _reader(sheet).fieldnames or ())


def read_table(sheet: Path, needed: Sequence[str], wanted: str = EXPECTED_FORMAT) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file in UTF-8, with or without a byte order mark.

    Args:
        sheet: the file.
        needed: names in `SYNONYMS` that must have a column. Empty cells are left to the expectations.
        wanted: the expected format, in words, for error messages.

    Returns:
        Each row's line number and values, by their names in `SYNONYMS` and by their own column names. Empty lines and
        lines of only commas, as spreadsheets leave them at the end, are skipped.

    Raises:
        LabelError: the file is empty, not UTF-8, not CSV, or lacks a column.
    """
    reader = _reader(sheet, wanted)
    head = [_normalise(name) for name in reader.fieldnames or ()]
    twice = [name for name, count in Counter(head).items() if count > 1 and name]
    if twice:
        raise LabelError(f"{sheet} has {head.count(twice[0])} columns named {twice[0]}: keep one of them")
    found = {name: next((one for one in known if one in head), None) for name, known in SYNONYMS.items()}
    missing = [SYNONYMS[name][0] for name in needed if not found[name]]
    if missing:
        raise LabelError(f"{sheet} has no column {', '.join(missing)}: {wanted}, separated by commas, is expected")
    rows = []
    try:
        for values in reader:
            line = reader.line_num
            given = {_normalise(name): (value or "").strip() for name, value in values.items() if isinstance(name, str)}
            if any(given.values()):
                rows.append((line, given | {name: given[one] for name, one in found.items() if one}))
    except csv.Error as error:
        raise LabelError(f"{sheet} is not CSV ({error}): {wanted} is expected") from None
    return rows


def _reader(sheet: Path, wanted: str = EXPECTED_FORMAT) -> csv.DictReader[str]:
    try:
        text = sheet.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 without a byte order mark is full of null bytes
        raise LabelError(
            f"{sheet} is not UTF-8 text: {wanted} is expected; save it as 'CSV UTF-8' (not as 'Unicode text')"
        )
    if not text.strip():
        raise LabelError(f"{sheet} is empty: {wanted} is expected")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        _ = reader.fieldnames
    except csv.Error as error:
        raise LabelError(f"{sheet} is not CSV ({error}): {wanted} is expected") from None
    return reader


def _row(line: int, given: Mapping[str, str], source: str | None, sheet: Path) -> Row:
    source_name = canonical_source(given.get("source") or source or "")
    if not source_name:
        raise LabelError(f"{sheet}, line {line}: no source; give --source NAME, or add a column source")
    if not {"key", "sha256", "file"} & given.keys():
        raise LabelError(f"{sheet} names no images: {EXPECTED_FORMAT} is expected")
    return Row(
        line,
        label=given["label"],
        patient=given["patient"],
        source=source_name,
        key=given.get("key") or None,
        sha256=(given.get("sha256") or "").lower() or None,
        view=given.get("view") or None,
        sex=given.get("sex") or None,
        age=given.get("age") or None,
        site=given.get("site") or None,
    )


def _normalise(name: str | None) -> str:
    return "_".join((name or "").replace("-", " ").replace("_", " ").casefold().split())


def path_inside(folder: Path, file: str, where: str) -> Path:
    """Return the path of a file that a sheet names.

    Raises:
        LabelError: the file is outside the folder, since the sheet is not trusted. `where` names the line.
    """
    if not (folder / file).resolve().is_relative_to(folder.resolve()):
        raise LabelError(f"{where}: the file is outside the folder")
    return folder / file
