"""Data sets to learn from: the labelled images that can be fetched, each in its split."""

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
"""Of a class: one stray label must not become a class of the next model."""
AGE_BANDS: Final = ((40, "0-39"), (60, "40-59"), (80, "60-79"))
OLDEST_BAND: Final = "80+"
LATERAL: Final = "lateral view"
OTHER_VIEW: Final = "of another view than the recipe learns from"
MADE_BESIDE_REAL: Final = "made data beside real data"
NOT_HERE: Final = "no readable image in this bucket"
GONE: Final = "not in the bucket any more"
QUARANTINED: Final = "quarantined by a night"
NO_SPLIT: Final = "not assigned to a split yet"


class DatasetError(RuntimeError):
    """There is nothing to learn from; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled image that can be fetched. Its representation names neither key nor patient."""

    content_sha256: str
    bucket_key: str = field(repr=False)
    etag: str = field(repr=False)
    label: str
    patient: str = field(repr=False)
    """The person as `datasets.splits` joins and names them: a content's sha256; no identifier that a hospital gave."""
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
        """Return the item in a row that `labelled_images` gives."""
        return cls(
            content_sha256=row.content_sha256, bucket_key=row.object_key, etag=row.etag, label=row.label,
            patient=patient, split=split, made=row.made, size_bytes=row.size_bytes, format=row.format,
            width=row.width, height=row.height, bit_depth=row.bit_depth, channels=row.channels,
            view=row.view, sex=row.sex, age=row.age, site=row.site,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dataset:
    """All labelled images that may be used, in the order of their content."""

    items: tuple[Item, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Labelled images that are not used: how many, by reason."""
    near_duplicates: int = 0
    """Pairs across splits that are known among the labelled images, those left out for it included."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of the model's outputs."""
        return tuple(sorted({item.label for item in self.items}))

    @property
    def labels(self) -> tuple[int, ...]:
        """The place of each item's class in `classes`."""
        place = {name: number for number, name in enumerate(self.classes)}
        return tuple(place[item.label] for item in self.items)

    @property
    def splits(self) -> tuple[str, ...]:
        """Train, validation or test, for each item."""
        return tuple(item.split for item in self.items)

    @property
    def contents(self) -> tuple[str, ...]:
        """The sha256 of each item's content."""
        return tuple(item.content_sha256 for item in self.items)

    @property
    def fingerprint(self) -> str:
        """Sha256 over contents, labels, splits and who is the same person, whatever their order."""
        return fingerprint(f"{item.content_sha256} {item.label} {item.split} {item.patient}" for item in self.items)

    @property
    def learning_fingerprint(self) -> str:
        """Sha256 over what a training sees: without the test set, so that a new test label makes no new model."""
        seen = (f"{item.content_sha256} {item.label} {item.split}" for item in self.items if item.split != "test")
        return fingerprint([*seen, *(f"class {name}" for name in self.classes)])

    @property
    def test_fingerprint(self) -> str:
        """Sha256 over the test set's contents and labels: two decisions with the same one had the same test."""
        return fingerprint(f"{item.content_sha256} {item.label}" for item in self.items if item.split == "test")

    @property
    def made(self) -> bool:
        """Whether it is made data; made and real data are never mixed."""
        return any(item.made for item in self.items)


def load(pool: sa.Engine, bucket: str, shares: tuple[float, float] | None = None) -> Dataset:
    """Read which labelled images there are in a bucket, each in the split that it was given.

    Left out are views from the side, images that cannot be fetched or failed an expectation, made data where real data
    has labels, and images of train (validation) that show a patient or a picture of the test (validation or test) set.

    Args:
        pool: connections to the database.
        bucket: where the images lie; splits are those of all buckets.
        shares: of patients that validate and that test: images without a split are taken too, in the one that they
            would get; nothing is assigned. None: they are left out.

    Raises:
        DatasetError: there are labels of fewer than two classes.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("labelled_images"), {"bucket": bucket})
        rows = cursor.fetchall()
        known, words, pairs = splits.read_splits(cursor), splits.read_words(cursor), splits.read_pairs(cursor)
        cursor.execute(query("quarantined_contents"))
        quarantined = {row.content_sha256 for row in cursor.fetchall()}
        if shares:
            known |= splits.proposed(splits.read_patients(cursor), known, words, pairs, *shares)
    unfit, people = splits.left_out(known, words, pairs), splits.named(splits.people(words, pairs))
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
        reasons[MADE_BESIDE_REAL] += sum(item.made for item in items)
        items = [item for item in items if not item.made]
    labelled = {row.content_sha256 for row in rows}
    near = sum({one, other} <= labelled and known.get(one) != known.get(other) for one, other in pairs)
    return _checked(Dataset(tuple(items), +reasons, near))


def without(dataset: Dataset, places: Iterable[int], reason: str) -> Dataset:
    """Return the data set without some items, which are counted as left out.

    Args:
        dataset: the data set.
        places: places in `items`.
        reason: why.

    Raises:
        DatasetError: fewer than two classes are left.
    """
    gone = set(places)
    kept = tuple(item for place, item in enumerate(dataset.items) if place not in gone)
    left_out = Counter(dict(dataset.left_out)) + Counter({reason: len(gone)})
    return _checked(replace(dataset, items=kept, left_out=left_out))


def without_rare_classes(dataset: Dataset, least: int = MIN_IMAGES) -> Dataset:
    """Return the data set without the classes that hardly any image has.

    Args:
        dataset: the data set.
        least: images that a class must have.

    Raises:
        DatasetError: fewer than two classes are left.
    """
    sizes = Counter(item.label for item in dataset.items)
    rare = [place for place, item in enumerate(dataset.items) if sizes[item.label] < least]
    return without(dataset, rare, f"of a class with fewer than {least} images") if rare else dataset


def of_views(dataset: Dataset, views: Collection[str]) -> Dataset:
    """Return the data set without the training and validation images that are known to be another view.

    The test set stays as it is, since nights score every view, and so do images of unknown view.

    Args:
        dataset: the data set.
        views: such as PA; empty: all are wanted.

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
    """Return what the items can be told apart by: view, sex, age band and site; None where it is not known."""
    given = list(items)
    return {
        "view": tuple(item.view for item in given),
        "sex": tuple(item.sex for item in given),
        "age band": tuple(age_band(item.age) for item in given),
        "site": tuple(item.site for item in given),
    }


def age_band(years: float | None) -> str | None:
    """Return the band that an age falls into: 0-39, 40-59, 60-79 or 80+ years."""
    if years is None:
        return None
    return next((name for end, name in AGE_BANDS if years < end), OLDEST_BAND)


def _unfit(
    content: str, view: str | None, key: str | None, known: Mapping[str, str], unfit: Mapping[str, str]
) -> str | None:
    if view == "lateral":
        return LATERAL
    if key is None:
        return NOT_HERE
    return unfit.get(content) if content in known else NO_SPLIT


def _checked(dataset: Dataset) -> Dataset:
    if len(dataset.classes) >= MIN_CLASSES:
        return dataset
    why = "; ".join(f"{number:,} left out: {reason}" for reason, number in dataset.left_out.items())
    raise DatasetError(
        f"the labels in the database give {len(dataset.items)} images of {len(dataset.classes)} classes, and at least "
        f"{MIN_CLASSES} classes are needed{f' ({why})' if why else ''}; bring some in: cxr labels import"
    )


def fingerprint(lines: Iterable[str]) -> str:
    """Return the sha256 over lines, whatever their order."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """How large a split is; `classes` are its images by class."""

    images: int
    patients: int
    classes: Mapping[str, int]
