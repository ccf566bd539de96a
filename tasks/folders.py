"""Folders of labelled images, read without any database: for cross-validation, and for whoever has nothing else yet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.preprocessing import preprocess
from models.radiograph import Limits, Measurement, read
from tasks import sheets
from tasks.datasets import MIN_CLASSES, DatasetError, fingerprint
from tasks.intake import threads
from tasks.sheets import LabelError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.preprocessing import PreprocessingSpec
    from tasks.sheets import Row


@dataclass(frozen=True, slots=True)
class Folder:
    """Preprocessed images with their labels."""

    images: NDArray[np.uint8]
    """(n, height, width, channels)"""
    labels: NDArray[np.int64]
    """(n,), indices into `classes`"""
    patients: list[str]
    classes: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    """What is known of each file: size, format and so on."""
    fingerprint: str
    """Of contents and labels: the same images and labels give the same one."""
    unreadable: int
    """Files left out because they are gone or could not be decoded."""

    @property
    def made(self) -> bool:
        """Any of it is made data."""
        return any(one.made for one in self.measurements)


def from_folder(folder: Path, spec: PreprocessingSpec, *, limits: Limits | None = None) -> Folder:
    """Read a folder with one sub-folder for each class, and a labels.csv (file, label, patient_id) if there is one.

    Without a sheet each file counts as a patient of its own. Files beyond the limits count as unreadable.

    Raises:
        DatasetError: the folder holds fewer than two classes, or the sheet cannot be read.
    """
    cv2.setNumThreads(1)
    listed = rows(folder)

    def one(row: Row) -> tuple[Row, NDArray[np.uint8], Measurement] | None:
        try:
            data = row.file.read_bytes() if row.file else b""
        except OSError:
            return None
        pixels, measurement = read(data, limits or Limits())
        return None if pixels is None else (row, preprocess(pixels, spec), measurement)

    with ThreadPoolExecutor(threads(0)) as executor:
        outcomes = list(executor.map(one, listed))
    found = [outcome for outcome in outcomes if outcome is not None]
    classes = tuple(sorted({row.label for row, *_ in found}))
    if len(classes) < MIN_CLASSES:
        raise DatasetError(
            f"{folder} (one sub-folder for each class): found {len(found)} readable images of {len(classes)} classes; "
            f"at least {MIN_CLASSES} are needed"
        )
    return Folder(
        images=np.stack([pixels for _, pixels, _ in found]),
        labels=np.array([classes.index(row.label) for row, *_ in found]),
        patients=[row.patient for row, *_ in found],
        classes=classes,
        measurements=tuple(measurement for *_, measurement in found),
        fingerprint=fingerprint(f"{measurement.sha256} {row.label}" for row, _, measurement in found),
        unreadable=len(outcomes) - len(found),
    )


def rows(folder: Path) -> tuple[Row, ...]:
    """Return which images a folder says that it has: those of its labels.csv, or else all files of its sub-folders.

    Raises:
        DatasetError: the sheet cannot be read, or a row has no label or no patient.
    """
    try:
        found = sheets.read(folder, "the folder").rows
    except LabelError as error:
        raise DatasetError(str(error)) from None
    if incomplete := next((row.line for row in found if not (row.label and row.patient)), None):
        raise DatasetError(f"{folder / sheets.SHEET}, line {incomplete}: no label or no patient_id")
    return found
