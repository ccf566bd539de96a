"""The images of a tournament: read once to know which ones are readable, preprocessed once for each specification."""

from __future__ import annotations

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from models import files
from models.radiographs.preprocessing import preprocess
from tasks.datasets import splits
from tasks.datasets.dataset import LATERAL, MIN_CLASSES, DatasetError, fingerprint
from tasks.pages.wording import counted
from tasks.radiographs.fetching import measure, read_radiograph, thread_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.radiographs.preprocessing import PreprocessingSpec
    from models.radiographs.radiograph import Limits, Measurement
    from tasks.datasets.labelled_images import Collection, LabelledImage
    from tasks.radiographs.fetching import Location, Prepared, Radiograph

FOLDER: Final = "contests"
"""In the cache. An older name for tournaments: with another one, answers kept by earlier versions would be lost."""
ORDER: Final = 2
"""Raised when the same images would stand in another order or in other folds than before: nothing kept fits them."""
FOLDS_OF_ONE_SPLIT: Final = 5
"""Where there is one split and no folds, the first of so many folds is held out."""
MIN_OTHER_PATIENTS: Final = 2
"""Fewest patients of each class that must remain when a fold is held out."""
AT_ONCE: Final = 64
"""Radiographs that are read before the first of them is used."""
UNREADABLE: Final = "unreadable"


@dataclass(frozen=True, slots=True)
class Entries:
    """The readable images of a set, in the order in which all its recipes see them: content and label decide it."""

    name: str
    images: tuple[LabelledImage, ...] = field(repr=False)
    measurements: tuple[Measurement, ...] = field(repr=False)
    classes: tuple[str, ...]
    limits: Limits
    patients_known: bool = True
    """See `tasks.datasets.labelled_images.Collection`."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Labelled images that take no part: how many, by reason."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,), indices into `classes`."""
        return np.array([self.classes.index(image.label) for image in self.images], np.int64)

    @property
    def patients(self) -> list[str]:
        """Whose each image is: people, as `tasks.datasets.splits` joins and names them."""
        return [image.patient for image in self.images]

    @property
    def contents(self) -> tuple[str, ...]:
        """The sha256 of each image's bytes."""
        return tuple(str(one.sha256) for one in self.measurements)

    @property
    def fingerprint(self) -> str:
        """Of contents, labels, people and views: the same images in the same folds have the same one."""
        return fingerprint(
            f"{content} {image.label} {image.patient} {image.view or ''}"
            for content, image in zip(self.contents, self.images, strict=True)
        )

    @property
    def made(self) -> bool:
        """Any of it is made data."""
        return any(one.made for one in self.measurements)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What one must know of the images to read their figures."""
        said = [] if self.patients_known else ["Nobody says whose the images are: each file counts as a patient."]
        if self.left_out:
            why = "; ".join(f"{reason} ({number:,})" for reason, number in self.left_out.items())
            said.append(f"{counted(sum(self.left_out.values()), 'image')} left out: {why}.")
        return tuple(said)

    def folds(self, count: int, seed: int) -> list[NDArray[np.str_]]:
        """Return each fold's split: (n,) of train, validation and test; with a `count` of 0 one split.

        Raises:
            DatasetError: there are no so many folds, or too few patients of a class for them.
        """
        from models.evaluation.crossvalidation import fold_splits

        check_folds(count)
        wanted = count or FOLDS_OF_ONE_SPLIT
        people = min(len({image.patient for image in self.images if image.label == name}) for name in self.classes)
        if people < wanted or people - math.ceil(people / wanted) < MIN_OTHER_PATIENTS:
            raise DatasetError(
                f"{self.name} has a class with images of {counted(people, 'patient')} only: {wanted} folds by patient "
                f"need one of each class to hold out and {MIN_OTHER_PATIENTS} more to learn from and to validate. "
                "Choose another --folds, or import more labels"
            )
        every = list(fold_splits(self.labels, self.patients, wanted, seed))
        return every if count else every[:1]


def check_folds(count: int) -> None:
    """See that there can be so many folds.

    Raises:
        DatasetError: one, or fewer than none.
    """
    if count < 0 or count == 1:
        raise DatasetError(f"{count} folds cannot be made: ask for at least 2, or for 0, which is one split")


def enter(collection: Collection, name: str, limits: Limits) -> Entries:
    """Read every image once, to know which ones can be.

    Views from the side take no part, as they are not learned from in the database either. Patients who share a file
    are one person, else its copies would lie in two folds.

    Args:
        collection: the labelled images.
        name: how people call the set.
        limits: what is refused before decoding.

    Raises:
        DatasetError: fewer than two classes are left.
    """
    frontal = [image for image in collection.images if image.view != "lateral"]
    seen = zip(frontal, _all_read(frontal, partial(measure, limits=limits)), strict=True)
    found = [(image, one.measurement) for image, one in seen if one.measurement and one.measurement.decodable]
    left_out = Counter(dict(collection.left_out)) + Counter(
        {LATERAL: len(collection.images) - len(frontal), UNREADABLE: len(frontal) - len(found)}
    )
    # Neither a sheet's order nor its names for patients may decide about folds: answers are kept by the fingerprint.
    found.sort(key=lambda one: (str(one[1].sha256), one[0].label, one[0].view or ""))
    people = splits.group_names(
        splits.group_by_person((str(measured.sha256), image.patient) for image, measured in found)
    )
    images = tuple(replace(image, patient=people[str(measured.sha256)]) for image, measured in found)
    classes = tuple(sorted({image.label for image in images}))
    entries = Entries(
        name, images, tuple(measured for _, measured in found), classes, limits, collection.patients_known, left_out
    )
    if len(classes) < MIN_CLASSES:
        raise DatasetError(
            f"{name}: {counted(len(images), 'readable image')}; classes: {len(classes)}, and at least {MIN_CLASSES} "
            f"are needed. {' '.join(entries.remarks)}".rstrip()
        )
    return entries


def images(cache: Path, entries: Entries, spec: PreprocessingSpec) -> Path:
    """Return the file with all images of a set, preprocessed; it is made where it is not there yet."""
    target = cache / FOLDER / f"{entries.fingerprint[:16]}-{spec.hash}-{ORDER}.npy"
    if target.is_file():
        return target
    files.make_private_folders(target.parent)
    read = partial(read_radiograph, limits=entries.limits, prepare=partial(preprocess, spec=spec))
    shape = len(entries.images), *spec.shape
    with files.atomic_file(target) as unfinished:
        together = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
        for place, found in enumerate(_all_read(entries.images, read)):
            if found.prepared is None:
                raise DatasetError(f"{entries.name}: an image that could be read before cannot be read any more")
            together[place] = found.prepared
        together.flush()
    return target


def _all_read(
    listed: Sequence[LabelledImage], read: Callable[[Location], Radiograph[Prepared]]
) -> Iterator[Radiograph[Prepared]]:
    """Read images in threads, a few ahead of the one in use; they come in order."""
    with ThreadPoolExecutor(thread_count(0)) as executor:
        for start in range(0, len(listed), AT_ONCE):
            yield from executor.map(read, [image.location for image in listed[start : start + AT_ONCE]])
