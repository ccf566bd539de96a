"""The metadata sheet of ieee8023/covid-chestxray-dataset (Cohen et al., arXiv 2003.11597), read as rows of labels.

Its findings were flat words at first ("COVID-19", "SARS", "No Finding") and are paths now ("Pneumonia/Viral/COVID-19");
both are read. What is no pneumonia and no healthy chest ("Tuberculosis", "Unknown", "todo") keeps its name, which is no
known class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks.labels import sheets
from tasks.labels.sheets import LabelError, LeftOut, Row, Sheet

if TYPE_CHECKING:
    from pathlib import Path

SOURCE: Final = "ieee8023/covid-chestxray-dataset"
SIGNS: Final = frozenset({"patientid", "finding", "view", "offset"})
"""Columns that all of its versions have, and the sheets of its cousins, with which names of files may be missing."""
HEALTHY: Final = frozenset({"no finding", "normal"})
PNEUMONIAS: Final = frozenset(
    {
        "pneumonia", "viral", "bacterial", "fungal", "lipoid", "aspiration", "sars", "mers", "mers-cov", "influenza",
        "h1n1", "varicella", "herpes", "pneumocystis", "streptococcus", "staphylococcus", "mrsa", "klebsiella",
        "legionella", "mycoplasma", "chlamydophila", "nocardia", "aspergillosis", "e.coli",
    }
)  # fmt: skip
"""Its flat words for pneumonias of a known kind or cause; not ARDS, a syndrome that has other causes too."""
SECTIONS: Final = ("ct", "axial", "coronal", "sagittal")
"""Words of `view` or `modality` by which it names computed tomography."""


def recognised(sheet: Path) -> bool:
    """Tell whether a CSV file is such a metadata sheet, by its columns.

    Raises:
        LabelError: it is no CSV file.
    """
    return sheets.columns(sheet) >= SIGNS


def read(sheet: Path, source: str | None, images: Path | None, prefix: str | None) -> Sheet:
    """Read the sheet; each patient id gets the data set's name in front, so that it meets nobody else's.

    Args:
        sheet: metadata.csv.
        source: who says so; the data set itself if not given.
        images: the folder in which its files lie.
        prefix: instead of that, what comes before the files' names in the bucket.

    Raises:
        LabelError: it names no files, or nobody says where they lie.
    """
    rows = sheets.table(sheet, ("label", "patient"))
    if not any("filename" in given for _, given in rows):
        raise LabelError(
            f"{sheet} says of no row which file it is about: its column filename is missing. Labels are kept by image; "
            "add the column"
        )
    if images is None and prefix is None:
        raise LabelError(
            f"{sheet} names files; say where they lie: --images FOLDER on this machine, or --prefix KEY_PREFIX in the "
            "bucket"
        )
    kept, left_out = [], []
    said = sheets.canonical(source or SOURCE)
    for line, given in rows:
        name = given["filename"]
        why = _no_frontal_radiograph(given)
        if why:
            left_out.append(LeftOut(line, name, why))
            continue
        row = Row(
            line,
            label=_class(given["label"]),
            patient=f"{SOURCE}/{given['patient']}" if given["patient"] else "",
            source=said,
            key=f"{prefix}{name}" if name and images is None else None,
            file=sheets.inside(images, name, f"{sheet}, line {line}") if name and images is not None else None,
            view=given.get("view") or None,
            sex=given.get("sex") or None,
            age=given.get("age") or None,
            site=given.get("location") or None,
        )
        kept.append(row)
    return Sheet(tuple(kept), tuple(left_out))


def _no_frontal_radiograph(given: dict[str, str]) -> str | None:
    modality, view = given.get("modality", "").casefold(), given.get("view", "").casefold()
    if any(word in SECTIONS for word in (*modality.split(), *view.split())):
        return "computed tomography, no radiograph"
    if view in sheets.LATERAL:
        return "lateral view"
    return None


def _class(finding: str) -> str:
    """Map a finding, flat or a path, to a class; what is none of them keeps its name."""
    steps = [step.strip().casefold() for part in finding.split(",") for step in part.split("/")]
    if "covid-19" in steps:
        return "COVID-19"
    if steps[0] in PNEUMONIAS:
        return "PNEUMONIA"
    return "NORMAL" if finding.strip().casefold() in HEALTHY else finding.strip()
