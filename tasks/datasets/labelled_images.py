"""Labelled images for the data report, from a folder, or from the bucket with their labels in the database."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from infra import database
from tasks.datasets import dataset, splits
from tasks.datasets.dataset import MIN_CLASSES, DatasetError
from tasks.labels import sheets
from tasks.labels.expectations import normalise_sex, normalise_view
from tasks.labels.sheets import EMPTY_WORDS, SHEET_NAME, LabelError
from tasks.radiographs.fetching import LocalFile, StoredObject

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import sqlalchemy as sa

    from infra.storage import Store
    from tasks.labels.sheets import Row
    from tasks.radiographs.fetching import Location

    Shares = tuple[float, float]
    """Shares of patients for validation and for test."""


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
    """Labelled images whose pixels have not been read yet."""

    images: tuple[LabelledImage, ...]
    place: str
    """folder or database."""
    patients_known: bool = True
    """False: the patients are unknown, and each image counts as a separate patient."""
    without_split: int = 0
    """Images in the database without a split yet; each is listed in the split that it would get."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of labelled images that are excluded, by reason."""


def from_folder(folder: Path, shares: Shares) -> Collection:
    """List a folder with one sub-folder per class, described by its labels.csv (file, label, patient_id ...) if any.

    The splits are those that the hashes of the patients would give. Views and sexes are normalised as in the database,
    and cells that mean "no value" ("unknown", "n/a") become None. Lateral views are included.

    Raises:
        DatasetError: the folder has images of fewer than two classes, or the sheet cannot be read.
    """
    images = tuple(
        LabelledImage(row.label, row.patient, splits.split_of(row.patient, *shares), LocalFile(row.file),
                      normalise_view(_value(row.view)), normalise_sex(_value(row.sex)), _value(row.age),
                      _value(row.site))
        for row in _rows(folder)
        if row.file  # always true for a folder; narrows the type
    )  # fmt: skip
    if len(classes := sorted({image.label for image in images})) < MIN_CLASSES:
        raise DatasetError(
            f"{folder} holds only one class ({classes[0]}): one sub-folder per class is expected, at least "
            f"{MIN_CLASSES}, such as NORMAL/ and PNEUMONIA/"
            if classes
            else f"{folder / SHEET_NAME} has a header but no rows"
        )
    return Collection(images=images, place="folder", patients_known=(folder / SHEET_NAME).is_file())


def from_database(pool: sa.Engine, store: Store, shares: Shares) -> Collection:
    """List the labelled images in the database whose objects are in the bucket, each with its split.

    An image without a split is listed in the split that it would get; nothing is assigned.

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


def without_test_set(collection: Collection) -> Collection:
    """Return a collection without the frozen test set, which is reserved for the gate."""
    images = tuple(image for image in collection.images if image.split != "test")
    excluded = {"in the frozen test set, which is reserved for the gate": len(collection.images) - len(images)}
    return replace(collection, images=images, left_out=dict(collection.left_out) | excluded)


def _rows(folder: Path) -> tuple[Row, ...]:
    """The rows of a folder's labels.csv, or one row for each file in its sub-folders."""
    try:
        rows = sheets.read(folder, "the folder").rows
    except LabelError as error:
        raise DatasetError(str(error)) from None
    if incomplete := next((row.line for row in rows if not (row.label and row.patient)), None):
        raise DatasetError(f"{folder / SHEET_NAME}, line {incomplete}: no label or no patient_id")
    return rows


def _value(written: str | None) -> str | None:
    return None if written is None or written.strip().casefold() in EMPTY_WORDS else written
