"""The survey of labelled images: each is read once, and only sums, sizes and a bounded number of small copies are kept.

Memory grows by a few hundred bytes per image, so that hundreds of thousands of images can be surveyed.
"""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from models.data.survey import ClassSums, ImageSurvey, survey_image
from tasks.datasets.dataset import MIN_CLASSES, DatasetError
from tasks.pages.wording import counted
from tasks.radiographs.fetching import read_radiograph, thread_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from models.radiographs.radiograph import Limits, Measurement
    from tasks.datasets.labelled_images import Collection, LabelledImage

BATCH_SIZE: Final = 256
"""Images in memory at once: 20 MB."""
MAX_COMPARED: Final = 10_000
"""Most images whose small copy and border are kept, for near-duplicates and baselines: 70 MB, and a few minutes."""
PROGRESS_EVERY: Final = 5_000
NUMBER: Final = re.compile(r"\d[\d,]*")


@dataclass(frozen=True, slots=True)
class Survey:
    """The findings of a survey."""

    images: tuple[LabelledImage, ...]
    """The n images that could be read."""
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    """(n,) indices into `classes`."""
    measurements: tuple[Measurement, ...]
    sums: Mapping[str, ClassSums]
    """By class."""
    compared: NDArray[np.intp]
    """(m,) indices of the images with `small` and `frames`: all, or `MAX_COMPARED` drawn at random."""
    small: NDArray[np.uint8]
    """(m, 64, 64, 1) small copies."""
    frames: NDArray[np.float32]
    """(m, 768) features of the border."""
    unreadable: Mapping[str, int] = field(default_factory=dict)
    """Number of images that could not be read, by reason."""
    unreadable_classes: Mapping[str, int] = field(default_factory=dict)
    """The same, by class."""


def survey_images(
    collection: Collection, limits: Limits, *, workers: int = 0, max_compared: int = MAX_COMPARED,
    progress: Callable[[str], None] | None = None,
) -> Survey:  # fmt: skip
    """Read all images once.

    Args:
        collection: the images.
        limits: what is refused before decoding.
        workers: number of threads; 0: two more than there are processors.
        max_compared: the largest number of images whose small copies are kept.
        progress: called with a progress message from time to time.

    Raises:
        DatasetError: fewer than two classes have a readable image.
        StorageError: the store as a whole is unreachable.
    """
    images = collection.images
    drawn = _drawn(len(images), max_compared)
    readable: list[LabelledImage] = []
    measurements: list[Measurement] = []
    copies: list[tuple[int, NDArray[np.uint8], NDArray[np.float32]]] = []
    sums: dict[str, ClassSums] = {}
    reasons: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    with ThreadPoolExecutor(thread_count(workers), thread_name_prefix="survey") as executor:
        for start in range(0, len(images), BATCH_SIZE):
            part = images[start : start + BATCH_SIZE]
            for place, (image, found) in enumerate(
                zip(part, executor.map(lambda one: _look(one, limits), part), strict=True), start
            ):
                if isinstance(found, str):
                    reasons[found] += 1
                    classes[image.label] += 1
                    continue
                seen, measurement = found
                sums.setdefault(image.label, ClassSums()).add(seen)
                if place in drawn:
                    copies.append((len(readable), seen.small, seen.border))
                readable.append(image)
                measurements.append(measurement)
            if progress and (start + len(part)) // PROGRESS_EVERY > start // PROGRESS_EVERY:
                progress(f"{start + len(part):,} of {counted(len(images), 'image')} read")
    names = tuple(sorted(sums))
    if len(names) < MIN_CLASSES:
        raise DatasetError(
            f"{len(readable):,} of {counted(len(images), 'image')} can be read, of {len(names)} classes; at least "
            f"{MIN_CLASSES} classes are needed{_why(reasons)}"
        )
    numbers = {name: place for place, name in enumerate(names)}
    return Survey(
        images=tuple(readable),
        classes=names,
        labels=np.array([numbers[image.label] for image in readable], np.int64),
        measurements=tuple(measurements),
        sums={name: sums[name] for name in names},
        compared=np.array([place for place, *_ in copies], np.intp),
        small=np.stack([small for _, small, _ in copies]),
        frames=np.stack([frame for *_, frame in copies]),
        unreadable=dict(reasons.most_common()),
        unreadable_classes=dict(classes.most_common()),
    )


def _look(image: LabelledImage, limits: Limits) -> tuple[ImageSurvey, Measurement] | str:
    """An image's part of the survey, or the reason why there is none, without numbers, so that equal reasons add up."""
    found = read_radiograph(image.location, limits, survey_image)
    if found.measurement is None:
        return found.failure or "not fetched"
    if found.prepared is None:
        return NUMBER.sub("…", found.problem or "not decodable")
    return found.prepared, found.measurement


def _drawn(total: int, max_compared: int) -> Sequence[int] | set[int]:
    if total <= max_compared:
        return range(total)
    return set(np.random.default_rng(0).choice(total, max_compared, replace=False).tolist())


def _why(reasons: Mapping[str, int]) -> str:
    return f" ({'; '.join(f'{number:,}: {reason}' for reason, number in reasons.items())})" if reasons else ""
