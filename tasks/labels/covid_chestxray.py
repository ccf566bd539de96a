"""The metadata sheet of ieee8023/covid-chestxray-dataset (Cohen et al., arXiv 2003.11597), read as rows of labels.

Older versions have flat findings ("COVID-19", "SARS", "No Finding"), newer ones paths ("Pneumonia/Viral/COVID-19").
Both are read. A finding that is neither a pneumonia nor a healthy chest ("Tuberculosis", "Unknown", "todo") keeps its
name, which is not a known class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks.labels import sheets
from tasks.labels.sheets import LabelError, Row, RowNote, Sheet

if TYPE_CHECKING:
    from pathlib import Path

SOURCE: Final = "ieee8023/covid-chestxray-dataset"
REQUIRED_COLUMNS: Final = frozenset({"patientid", "finding", "view", "offset"})
"""Columns that every version of the sheet has. Sheets derived from it have them too, sometimes without file names."""
HEALTHY: Final = frozenset({"no finding", "normal"})
PNEUMONIAS: Final = frozenset(
    {
        "pneumonia", "viral", "bacterial", "fungal", "lipoid", "aspiration", "sars", "mers", "mers-cov", "influenza",
        "h1n1", "varicella", "herpes", "pneumocystis", "streptococcus", "staphylococcus", "mrsa", "klebsiella",
        "legionella", "mycoplasma", "chlamydophila", "nocardia", "aspergillosis", "e.coli",
    }
)  # fmt: skip
"""The flat words for pneumonias of a known kind or cause. ARDS is not among them: it has other causes too."""
CT_WORDS: Final = ("ct", "axial", "coronal", "sagittal")
"""Words in `view` or `modality` that mean computed tomography."""


def is_metadata_sheet(sheet: Path) -> bool:
    """Return whether a CSV file has the columns of this metadata sheet.

    Raises:
        LabelError: the file is not CSV.
    """
    return sheets.column_names(sheet) >= REQUIRED_COLUMNS


def read(sheet: Path, source: str | None, images: Path | None, prefix: str | None) -> Sheet:
    """Read the sheet. Patient ids are prefixed with the data set's name, so that they cannot clash with others.

    Args:
        sheet: metadata.csv.
        source: the source of the labels; the data set itself by default.
        images: the folder that holds the image files.
        prefix: alternatively, the key prefix of the images in the bucket.

    Raises:
        LabelError: the sheet names no files, or neither `images` nor `prefix` is given.
    """
    rows = sheets.read_table(sheet, ("label", "patient"))
    if not any("filename" in values for _, values in rows):
        raise LabelError(f"{sheet} has no column filename, so its rows cannot be matched to images. Add the column")
    if images is None and prefix is None:
        raise LabelError(
            f"{sheet} names files. Say where they are: --images FOLDER on this machine, or --prefix KEY_PREFIX in the "
            "bucket"
        )
    accepted, left_out = [], []
    source_name = sheets.canonical_source(source or SOURCE)
    for line, values in rows:
        name = values["filename"]
        why = _no_frontal_radiograph(values)
        if why:
            left_out.append(RowNote(line, name, why))
            continue
        row = Row(
            line,
            label=_class(values["label"]),
            patient=f"{SOURCE}/{values['patient']}" if values["patient"] else "",
            source=source_name,
            key=f"{prefix}{name}" if name and images is None else None,
            file=sheets.path_inside(images, name, f"{sheet}, line {line}") if name and images is not None else None,
            view=values.get("view") or None,
            sex=values.get("sex") or None,
            age=values.get("age") or None,
            site=values.get("location") or None,
        )
        accepted.append(row)
    return Sheet(tuple(accepted), tuple(left_out))


def _no_frontal_radiograph(values: dict[str, str]) -> str | None:
    modality, view = values.get("modality", "").casefold(), values.get("view", "").casefold()
    if any(word in CT_WORDS for word in (*modality.split(), *view.split())):
        return "computed tomography, not a radiograph"
    if view in sheets.LATERAL_WORDS:
        return "lateral view"
    return None


def _class(finding: str) -> str:
    """Map a finding, flat or a path, to a class; any other finding keeps its name."""
    steps = [step.strip().casefold() for part in finding.split(",") for step in part.split("/")]
    if "covid-19" in steps:
        return "COVID-19"
    if steps[0] in PNEUMONIAS:
        return "PNEUMONIA"
    return "NORMAL" if finding.strip().casefold() in HEALTHY else finding.strip()
