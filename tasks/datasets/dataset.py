"""Training data sets: the labelled images that can be fetched, each with its split."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from infra import database
from sql.library import query
from tasks.datasets import splits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import sqlalchemy as sa

MIN_CLASSES: Final = 2
MIN_IMAGES: Final = 10
"""Per class: a single stray label must not become a class of the next model."""
AGE_BANDS: Final = ((40, "0-39"), (60, "40-59"), (80, "60-79"))
OLDEST_BAND: Final = "80+"
LATERAL: Final = "lateral view"
OTHER_VIEW: Final = "a view that the recipe does not train on"
MADE_WITH_REAL: Final = "made data alongside real data"
NO_READABLE_IMAGE: Final = "no readable image in this bucket"
OBJECT_MISSING: Final = "no longer in the bucket"
QUARANTINED: Final = "quarantined by a night"
NO_SPLIT: Final = "not assigned to a split yet"


class DatasetError(RuntimeError):
    """There are no usable training data; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled image that can be fetched. Its representation names neither key nor patient."""

    content_sha256: str
    bucket_key: str = field(repr=False)
    etag: str = field(repr=False)
    label: str
    patient: str = field(repr=False)
    """The person, by the sha256 of one of their images (`splits.group_names`), never by a hospital's identifier."""
    split: str
    """train, validation or test."""
    made: bool
    size_bytes: int
    format: str | None = None
    width: int | None = None
    height: int | None = None
    bit_depth: int | None = None
    channels: int | None = None
    view: str | None = None
    sex: str | None = None
    age: float | None = None
    """Years."""
    site: str | None = None

    @classmethod
    def from_row(cls, row: Any, patient: str, split: str) -> Item:
        """Return the item in a row of the query `labelled_images`."""
        return cls(
            content_sha256=row.content_sha256, bucket_key=row.object_key, etag=row.etag, label=row.label,
            patient=patient, split=split, made=row.made, size_bytes=row.size_bytes, format=row.format,
            width=row.width, height=row.height, bit_depth=row.bit_depth, channels=row.channels,
            view=row.view, sex=row.sex, age=row.age, site=row.site,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dataset:
    """All usable labelled images, ordered by content."""

    items: tuple[Item, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of labelled images that are excluded, by reason."""
    near_duplicates: int = 0
    """Known near-duplicate pairs across splits among the labelled images, including images excluded for it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the model's outputs."""
        return tuple(sorted({item.label for item in self.items}))

    @property
    def labels(self) -> tuple[int, ...]:
        """The index of each item's class in `classes`."""
        index = {name: number for number, name in enumerate(self.classes)}
        return tuple(index[item.label] for item in self.items)

    @property
    def splits(self) -> tuple[str, ...]:
        """The split of each item: train, validation or test."""
        return tuple(item.split for item in self.items)

    @property
    def contents(self) -> tuple[str, ...]:
        """The sha256 of each item's content."""
        return tuple(item.content_sha256 for item in self.items)

    @property
    def fingerprint(self) -> str:
        """Sha256 over contents, labels, splits and persons, independent of their order."""
        return fingerprint(f"{item.content_sha256} {item.label} {item.split} {item.patient}" for item in self.items)

    @property
    def learning_fingerprint(self) -> str:
        """Sha256 over the data that a training sees. A new label in the test set does not change it."""
        seen = (f"{item.content_sha256} {item.label} {item.split}" for item in self.items if item.split != "test")
        return fingerprint([*seen, *(f"class {name}" for name in self.classes)])

    @property
    def test_fingerprint(self) -> str:
        """Sha256 over the test set's contents and labels: decisions with equal fingerprints used the same test set."""
        return fingerprint(f"{item.content_sha256} {item.label}" for item in self.items if item.split == "test")

    @property
    def made(self) -> bool:
        """Whether this is made data. Made and real data are never mixed."""
        return any(item.made for item in self.items)


def load(pool: sa.Engine, bucket: str, shares: tuple[float, float] | None = None) -> Dataset:
    """Read the labelled images of a bucket, each with its assigned split.

    Excluded are lateral views, images that cannot be fetched or failed an expectation, made data if any real data is
    labelled, and images whose patient or picture also appears in a stricter split (see `splits.exclusions`).

    Args:
        pool: connections to the database.
        bucket: the bucket that holds the images. Splits span all buckets.
        shares: shares of patients for validation and test. Images without a split are then included, in the split that
            they would get; nothing is assigned. None: they are excluded.

    Raises:
        DatasetError: there are fewer than two classes.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("labelled_images"), {"bucket": bucket})
        rows = cursor.fetchall()
        known, words, pairs = (
            splits.read_splits(cursor),
            splits.read_label_history(cursor),
            splits.read_near_duplicates(cursor),
        )
        cursor.execute(query("quarantined_contents"))
        quarantined = {row.content_sha256 for row in cursor.fetchall()}
        if shares:
            known |= splits.propose(splits.read_patients(cursor), known, words, pairs, *shares)
    unfit, people = splits.exclusions(known, words, pairs), splits.group_names(splits.group_by_person(words, pairs))
    reasons: Counter[str] = Counter()
    items = []
    for row in rows:
        content = row.content_sha256
        reason = QUARANTINED if content in quarantined else _unfit(content, row.view, row.object_key, known, unfit)
        if reason:
            reasons[reason] += 1
        else:
            items.append(Item.from_row(row, people[content], known[content]))
    if any(not item.made for item in items):
        reasons[MADE_WITH_REAL] += sum(item.made for item in items)
        items = [item for item in items if not item.made]
    labelled = {row.content_sha256 for row in rows}
    near = sum({one, other} <= labelled and known.get(one) != known.get(other) for one, other in pairs)
    return _checked(Dataset(tuple(items), +reasons, near))


def without(dataset: Dataset, places: Iterable[int], reason: str) -> Dataset:
    """Return the data set without some items, which are counted in `left_out`.

    Args:
        dataset: the data set.
        places: indices into `items`.
        reason: why they are excluded.

    Raises:
        DatasetError: fewer than two classes are left.
    """
    removed = set(places)
    kept = tuple(item for place, item in enumerate(dataset.items) if place not in removed)
    left_out = Counter(dict(dataset.left_out)) + Counter({reason: len(removed)})
    return _checked(replace(dataset, items=kept, left_out=left_out))


def without_rare_classes(dataset: Dataset, min_images: int = MIN_IMAGES) -> Dataset:
    """Return the data set without the classes that have too few images.

    Args:
        dataset: the data set.
        min_images: the minimum number of images per class.

    Raises:
        DatasetError: fewer than two classes are left.
    """
    sizes = Counter(item.label for item in dataset.items)
    rare = [place for place, item in enumerate(dataset.items) if sizes[item.label] < min_images]
    return without(dataset, rare, f"a class with fewer than {min_images} images") if rare else dataset


def with_views(dataset: Dataset, views: Collection[str]) -> Dataset:
    """Return the data set without the training and validation images of other views.

    Images of unknown view stay. So does the whole test set, since nights score every view.

    Args:
        dataset: the data set.
        views: the views to keep, such as PA; empty: all.

    Raises:
        DatasetError: fewer than two classes are left.
    """
    other = [
        place
        for place, item in enumerate(dataset.items)
        if views and item.view is not None and item.view not in views and item.split != "test"
    ]
    return without(dataset, other, OTHER_VIEW) if other else dataset


def subgroups(items: Iterable[Item]) -> dict[str, tuple[str | None, ...]]:
    """Return each item's group by view, sex, age band and site; None where it is unknown."""
    listed = list(items)
    return {
        "view": tuple(item.view for item in listed),
        "sex": tuple(item.sex for item in listed),
        "age band": tuple(age_band(item.age) for item in listed),
        "site": tuple(item.site for item in listed),
    }


def age_band(years: float | None) -> str | None:
    """Return the age band: 0-39, 40-59, 60-79 or 80+ years."""
    if years is None:
        return None
    return next((name for end, name in AGE_BANDS if years < end), OLDEST_BAND)


def _unfit(
    content: str, view: str | None, key: str | None, known: Mapping[str, str], unfit: Mapping[str, str]
) -> str | None:
    if view == "lateral":
        return LATERAL
    if key is None:
        return NO_READABLE_IMAGE
    return unfit.get(content) if content in known else NO_SPLIT


def _checked(dataset: Dataset) -> Dataset:
    if len(dataset.classes) >= MIN_CLASSES:
        return dataset
    why = "; ".join(f"{number:,} left out: {reason}" for reason, number in dataset.left_out.items())
    raise DatasetError(
        f"the labels in the database give {len(dataset.items)} images of {len(dataset.classes)} classes, and at least "
        f"{MIN_CLASSES} classes are needed{f' ({why})' if why else ''}; import more labels: cxr labels import"
    )


def fingerprint(lines: Iterable[str]) -> str:
    """Return the sha256 over lines, independent of their order."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """The size of a split; `classes` counts its images by class."""

    images: int
    patients: int
    classes: Mapping[str, int]
