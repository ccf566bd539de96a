"""Data sets to learn from: a folder of labelled images, or labels in the database with the objects in the store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from infra import database
from infra.storage import ObjectError
from models.preprocessing import preprocess
from models.radiograph import Limits, read
from sql.library import query
from tasks.intake import threads
from tasks.labels import LabelError, read_sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from infra.storage import Store
    from models.preprocessing import PreprocessingSpec

SHEET = "labels.csv"
SHEET_COLUMNS = ("file", "label", "patient_id")


class DatasetError(RuntimeError):
    """There is nothing to learn from; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled image before it is read."""

    read: Callable[[], bytes]
    label: str
    patient: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Preprocessed images with their labels."""

    images: NDArray[np.uint8]
    """(n, height, width, channels)"""
    labels: NDArray[np.int64]
    """(n,), indices into `classes`"""
    patients: list[str]
    classes: tuple[str, ...]
    fingerprint: str
    """See `models.training.data_fingerprint`: the same images and labels give the same one."""
    made: bool
    """Any of it is made data."""
    unreadable: int
    """Files left out because they are gone or could not be decoded."""


def from_folder(folder: Path, spec: PreprocessingSpec, *, limits: Limits | None = None) -> Dataset:
    """Read a folder with one sub-folder for each class, and a labels.csv (file, label, patient_id) if there is one.

    Without a sheet each file counts as a patient of its own. Files beyond the limits count as unreadable.

    Raises:
        DatasetError: the folder holds fewer than two classes, or the sheet cannot be read.
    """
    sheet = folder / SHEET
    if sheet.is_file():
        try:
            rows = read_sheet(sheet, SHEET_COLUMNS)
        except LabelError as error:
            raise DatasetError(str(error)) from None
        items = [Labelled((folder / file).read_bytes, label, patient) for file, label, patient in rows]
    else:
        items = [
            Labelled(path.read_bytes, path.parent.name, path.stem)
            for path in sorted(folder.glob("*/*"))
            if path.is_file()
        ]
    return _read(items, spec, limits or Limits(), f"{folder} (one sub-folder for each class)")


def from_labels(pool: sa.Engine, store: Store, spec: PreprocessingSpec, *, limits: Limits | None = None) -> Dataset:
    """Read the images that have a label in the database; where two sources disagree, the newest label counts.

    Files beyond the limits count as unreadable.

    Raises:
        DatasetError: there are labels of fewer than two classes.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("labelled_images"), {"bucket": store.bucket})
        rows = cursor.fetchall()

    def reader(key: str, etag: str) -> Callable[[], bytes]:
        return lambda: store.read(key, etag)

    items = [Labelled(reader(*row[:2]), row[2], row[3]) for row in rows]
    return _read(items, spec, limits or Limits(), "the labels in the database")


def _read(items: Iterable[Labelled], spec: PreprocessingSpec, limits: Limits, where: str) -> Dataset:
    from models.training import data_fingerprint

    cv2.setNumThreads(1)

    def one(item: Labelled) -> tuple[NDArray[np.uint8], str, str, str, bool] | None:
        try:
            data = item.read()
        except (ObjectError, FileNotFoundError):
            return None
        pixels, measurement = read(data, limits)
        if pixels is None:
            return None
        return preprocess(pixels, spec), item.label, item.patient, str(measurement.sha256), measurement.made

    with ThreadPoolExecutor(threads(0)) as executor:
        outcomes = list(executor.map(one, items))
    found = [outcome for outcome in outcomes if outcome is not None]
    classes = tuple(sorted({label for _, label, *_ in found}))
    if len(classes) < 2:  # noqa: PLR2004 - nothing to tell apart
        raise DatasetError(
            f"{where}: found {len(found)} readable images of {len(classes)} classes; at least 2 are needed"
        )
    return Dataset(
        images=np.stack([pixels for pixels, *_ in found]),
        labels=np.array([classes.index(label) for _, label, *_ in found]),
        patients=[patient for _, _, patient, *_ in found],
        classes=classes,
        fingerprint=data_fingerprint([content for *_, content, _ in found], [label for _, label, *_ in found]),
        made=any(made for *_, made in found),
        unreadable=len(outcomes) - len(found),
    )
