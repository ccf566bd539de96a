"""Labelled images to look at, wherever they lie: in a folder, or in the bucket with their labels in the database."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from infra import database
from tasks.datasets import dataset, splits
from tasks.datasets.dataset import MIN_CLASSES, DatasetError
from tasks.labels import sheets
from tasks.labels.expectations import tidy_sex, tidy_view
from tasks.labels.sheets import SHEET, UNSAID, LabelError
from tasks.radiographs.fetching import LocalFile, StoredObject

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import sqlalchemy as sa

    from infra.storage import Store
    from tasks.labels.sheets import Row
    from tasks.radiographs.fetching import Location

    Shares = tuple[float, float]
    """Of patients that validate and that test."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image with its label. Its representation names neither file nor patient."""

    label: str
    patient: str = field(repr=False)
    split: str
    location: Location = field(repr=False)
    view: str | None = None
    sex: str | None = None
    age: str | float | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Labelled images, none of them read yet."""

    images: tuple[LabelledImage, ...]
    place: str
    """folder or database."""
    patients_known: bool = True
    """False: nobody says whose the images are, and each counts as a patient of its own."""
    without_split: int = 0
    """Images of the database that have no split yet; each is shown in the one that it would get."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Labelled images that are not among them: how many, by reason."""


def of_folder(folder: Path, shares: Shares) -> Collection:
    """List a folder with one sub-folder for each class, and a labels.csv (file, label, patient_id ...) if there is one.

    The splits are those that the patients' hashes would give them. Views and sexes are written as in the database, and
    cells that say nothing ("unknown", "n/a") are empty. Views from the side are listed too.

    Raises:
        DatasetError: it holds no images or those of one class only, or the sheet cannot be read.
    """
    images = tuple(
        LabelledImage(row.label, row.patient, splits.split_of(row.patient, *shares), LocalFile(row.file),
                      tidy_view(_said(row.view)), tidy_sex(_said(row.sex)), _said(row.age), _said(row.site))
        for row in _rows(folder)
        if row.file  # all of a folder's rows have one
    )  # fmt: skip
    if len(classes := sorted({image.label for image in images})) < MIN_CLASSES:
        raise DatasetError(
            f"{folder} holds one class only ({classes[0]}): one sub-folder for each class is expected, at least "
            f"{MIN_CLASSES}, such as NORMAL/ and PNEUMONIA/"
            if classes
            else f"{folder / SHEET} has a head and no rows"
        )
    return Collection(images=images, place="folder", patients_known=(folder / SHEET).is_file())


def of_database(pool: sa.Engine, store: Store, shares: Shares) -> Collection:
    """List the labelled images of the database whose objects lie in the bucket, each in the split that it has.

    An image without a split is listed in the one that it would get; nothing is assigned.

    Raises:
        DatasetError: there are fewer than two classes.
    """
    data = dataset.load(pool, store.bucket, shares)
    with database.transaction(pool) as cursor:
        assigned = splits.read_splits(cursor)
    images = tuple(
        LabelledImage(item.label, item.patient, item.split,
                      StoredObject(store, item.bucket_key, item.etag, item.size_bytes),
                      item.view, item.sex, item.age, item.site)
        for item in data.items
    )  # fmt: skip
    fresh = sum(item.content_sha256 not in assigned for item in data.items)
    return Collection(images=images, place="database", without_split=fresh, left_out=data.left_out)


def without_test(found: Collection) -> Collection:
    """Return a collection without the frozen test set, which is left for the gate."""
    images = tuple(image for image in found.images if image.split != "test")
    gone = {"of the frozen test set, which is left for the gate": len(found.images) - len(images)}
    return replace(found, images=images, left_out=dict(found.left_out) | gone)


def _rows(folder: Path) -> tuple[Row, ...]:
    """What a folder says that it has: the rows of its labels.csv, or else all files of its sub-folders."""
    try:
        found = sheets.read(folder, "the folder").rows
    except LabelError as error:
        raise DatasetError(str(error)) from None
    if incomplete := next((row.line for row in found if not (row.label and row.patient)), None):
        raise DatasetError(f"{folder / SHEET}, line {incomplete}: no label or no patient_id")
    return found


def _said(written: str | None) -> str | None:
    return None if written is None or written.strip().casefold() in UNSAID else written
