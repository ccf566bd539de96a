"""The images of a contest: read once to know which ones can be, preprocessed once for each specification."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from models.preprocessing import preprocess
from models.radiograph import read
from tasks import arrays
from tasks.datasets import DatasetError, fingerprint
from tasks.intake import threads
from tasks.labelled_images import UnreadableError
from tasks.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.preprocessing import PreprocessingSpec
    from models.radiograph import Limits, Measurement
    from tasks.labelled_images import Collection, LabelledImage

FOLDER: Final = "contests"
FOLDS_OF_ONE_SPLIT: Final = 5
"""Where there is one split and no folds, the first of so many folds is held out."""
AT_ONCE: Final = 64
"""Decoded radiographs that are in memory."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The readable images of a set, in the order in which all its recipes see them."""

    name: str
    images: tuple[LabelledImage, ...] = field(repr=False)
    measurements: tuple[Measurement, ...] = field(repr=False)
    classes: tuple[str, ...]
    unreadable: int
    limits: Limits

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,), indices into `classes`."""
        return np.array([self.classes.index(image.label) for image in self.images], np.int64)

    @property
    def patients(self) -> list[str]:
        """Whose each image is."""
        return [image.patient for image in self.images]

    @property
    def contents(self) -> tuple[str, ...]:
        """The sha256 of each image's bytes."""
        return tuple(str(one.sha256) for one in self.measurements)

    @property
    def fingerprint(self) -> str:
        """Of contents, labels and patients: the same images in the same folds have the same one."""
        return fingerprint(
            f"{content} {image.label} {image.patient}"
            for content, image in zip(self.contents, self.images, strict=True)
        )

    @property
    def made(self) -> bool:
        """Any of it is made data."""
        return any(one.made for one in self.measurements)

    def folds(self, count: int, seed: int) -> list[NDArray[np.str_]]:
        """Return each fold's split: (n,) of train, validation and test; with a `count` of 0 one split.

        Raises:
            DatasetError: there are too few patients of a class for so many folds.
        """
        from models.crossvalidation import folds

        wanted = count or FOLDS_OF_ONE_SPLIT
        people = min(len({image.patient for image in self.images if image.label == name}) for name in self.classes)
        if people < wanted:
            raise DatasetError(
                f"{self.name} has a class with images of {counted(people, 'patient')} only, and {wanted} folds by "
                "patient need as many at least: ask for fewer folds, or bring more labels in"
            )
        every = list(folds(self.labels, self.patients, wanted, seed))
        return every if count else every[:1]


def enter(collection: Collection, name: str, limits: Limits) -> Entries:
    """Read every image once, to know which ones can be.

    Args:
        collection: the labelled images.
        name: how people call the set.
        limits: what is refused before decoding.

    Raises:
        DatasetError: fewer than two classes are left.
    """
    kept, measured = [], []
    for image, found in _decoded(collection.images, limits):
        if found is not None:
            kept.append(image)
            measured.append(found[1])
    classes = tuple(sorted({image.label for image in kept}))
    if len(classes) < 2:  # noqa: PLR2004 - with one there is nothing to tell apart
        raise DatasetError(f"{name}: {counted(len(kept), 'readable image')} of {len(classes)} classes; two are needed")
    return Entries(name, tuple(kept), tuple(measured), classes, len(collection.images) - len(kept), limits)


def images(cache: Path, entries: Entries, spec: PreprocessingSpec) -> Path:
    """Return the file with all images of a set, preprocessed; it is made where it is not there yet."""
    target = cache / FOLDER / f"{entries.fingerprint[:16]}-{spec.hash}.npy"
    if target.is_file():
        return target
    arrays.private(target.parent)
    beside = target.with_name(f".{os.getpid()}-{target.name}")
    together = np.lib.format.open_memmap(beside, mode="w+", dtype=np.uint8, shape=(len(entries.images), *spec.shape))
    for place, (_, found) in enumerate(_decoded(entries.images, entries.limits)):
        if found is None:
            beside.unlink()
            raise DatasetError(f"{entries.name}: an image that could be read before cannot be read any more")
        together[place] = preprocess(found[0], spec)
    together.flush()
    beside.replace(target)
    return target


def _decoded(
    listed: Sequence[LabelledImage], limits: Limits
) -> Iterator[tuple[LabelledImage, tuple[Any, Measurement] | None]]:
    """Each image with its pixels and measurement, None where it cannot be read; a few at a time."""
    cv2.setNumThreads(1)

    def one(image: LabelledImage) -> tuple[Any, Measurement] | None:
        try:
            pixels, measurement = read(image.fetch(), limits)
        except UnreadableError:
            return None
        return None if pixels is None else (pixels, measurement)

    with ThreadPoolExecutor(threads(0)) as executor:
        for start in range(0, len(listed), AT_ONCE):
            batch = listed[start : start + AT_ONCE]
            yield from zip(batch, executor.map(one, batch), strict=True)
