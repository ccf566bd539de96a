"""Data facts: the figures that a survey of labelled images gives."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from models.data import near_duplicates
from models.data.survey import distribution_overlap
from models.recipes.catalogue import SPLITS
from tasks.data_report.baselines import BaselineResults, run_baselines
from tasks.datasets.dataset import SplitFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from tasks.data_report.baselines import Baseline
    from tasks.data_report.survey import Survey

SHOWN_PAIRS: Final = 6
PER_PATIENT: Final = ((1, "1"), (2, "2"), (3, "3"), (5, "4 or 5"), (10, "6 to 10"))
MANY: Final = "more than 10"
CHANNEL_NAMES, OTHER_CHANNELS = {1: "grey", 2: "grey, alpha", 3: "RGB", 4: "RGBA"}, "colours"


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """The figures of one class; sizes are (5th percentile, median, 95th percentile)."""

    name: str
    images: int
    patients: int
    mean: NDArray[np.float64]
    """(224, 224), 0 to 255: the mean of its preprocessed images."""
    original: NDArray[np.float64]
    """(64,) mean share of the pixels in each grey bin, as stored."""
    prepared: NDArray[np.float64]
    """The same after preprocessing."""
    width: tuple[float, float, float]
    height: tuple[float, float, float]
    aspect: tuple[float, float, float]
    kilobytes: tuple[float, float, float]
    kinds: Mapping[str, int]
    """Number of images by format, bits and channels."""
    unreadable: int


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Exact copies and near-duplicates."""

    compared: int
    """Distinct files among which near-duplicates were searched."""
    copies: int
    """Files with the same bytes as another file."""
    copies_in_several_classes: int
    """Those of `copies` that have a copy with another class."""
    pairs: int
    """Near-duplicate pairs; below, those with different patients, classes and splits."""
    patients: int
    classes: int
    splits: int
    shown: tuple[tuple[int, int, float], ...]
    """Pairs to show: two indices into the survey's images, and their similarity. Different classes come first."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All figures about the images."""

    classes: tuple[ClassFacts, ...]
    images: int
    patients: int
    made: int
    multi_class_patients: Mapping[tuple[str, ...], int]
    """Number of patients with images of several classes, by those classes."""
    per_patient: Mapping[str, int]
    """Number of patients by their number of images."""
    splits: Mapping[str, SplitFacts]
    baseline_results: BaselineResults
    overlaps: tuple[tuple[str, str, float, float], ...]
    """Two classes, and the overlap of their grey distributions as stored and after preprocessing; smallest first."""
    duplicates: Duplicates
    unreadable: Mapping[str, int] = field(default_factory=dict)

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """The shortcut baselines; empty if there are too few patients."""
        return self.baseline_results.baselines

    @property
    def imbalance(self) -> float:
        """Ratio of the largest class's number of images to the smallest one's."""
        sizes = [one.images for one in self.classes]
        return max(sizes) / min(sizes)

    @property
    def mean(self) -> NDArray[np.float64]:
        """(224, 224): the mean of the class means, so that the largest class does not dominate."""
        return np.asarray(np.mean([one.mean for one in self.classes], axis=0), np.float64)


def compute_facts(survey: Survey, progress: Callable[[str], None] | None = None) -> Facts:
    """Compute all figures of a survey.

    Args:
        survey: the survey of the images.
        progress: called with a progress message before each slow step.
    """
    report = progress or (lambda _: None)
    patients = [image.patient for image in survey.images]
    owned: defaultdict[str, set[str]] = defaultdict(set)
    for image in survey.images:
        owned[image.patient].add(image.label)
    report("testing whether files and borders predict the classes")
    results = run_baselines(survey)
    report("searching for near-duplicates")
    classes = tuple(_class_facts(survey, name, patients) for name in survey.classes)
    return Facts(
        classes=classes,
        images=len(survey.images),
        patients=len(owned),
        made=sum(file.made for file in survey.measurements),
        multi_class_patients=dict(
            Counter(tuple(sorted(labels)) for labels in owned.values() if len(labels) > 1).most_common()
        ),
        per_patient=_per_patient(Counter(patients)),
        splits=_splits(survey),
        baseline_results=results,
        overlaps=_overlaps(classes),
        duplicates=_duplicates(survey),
        unreadable=survey.unreadable,
    )


def _class_facts(survey: Survey, name: str, patients: Sequence[str]) -> ClassFacts:
    places = np.flatnonzero(survey.labels == survey.classes.index(name))
    measured = [survey.measurements[place] for place in places]
    sums = survey.sums[name]
    kinds = Counter(
        f"{file.format}, {file.bit_depth} bit, {CHANNEL_NAMES.get(file.channels or 0, OTHER_CHANNELS)}"
        + (" (palette)" if file.mode == "P" else "")
        for file in measured
    )
    return ClassFacts(
        name=name,
        images=len(places),
        patients=len({patients[int(place)] for place in places}),
        mean=sums.picture / sums.n,
        original=sums.original / sums.n,
        prepared=sums.prepared / sums.n,
        width=_spread([file.width or 0 for file in measured]),
        height=_spread([file.height or 0 for file in measured]),
        aspect=_spread([file.aspect or 0 for file in measured]),
        kilobytes=_spread([file.n_bytes / 1000 for file in measured]),
        kinds=dict(kinds.most_common()),
        unreadable=survey.unreadable_classes.get(name, 0),
    )


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(values, (5, 50, 95))
    return float(low), float(middle), float(high)


def _per_patient(images: Counter[str]) -> dict[str, int]:
    counts = Counter(next((name for most, name in PER_PATIENT if n <= most), MANY) for n in images.values())
    return {name: counts[name] for name in (*(name for _, name in PER_PATIENT), MANY) if counts[name]}


def _splits(survey: Survey) -> dict[str, SplitFacts]:
    found: dict[str, SplitFacts] = {}
    for split in SPLITS:
        images = [image for image in survey.images if image.split == split]
        found[split] = SplitFacts(
            len(images), len({image.patient for image in images}), Counter(image.label for image in images)
        )
    return found


def _overlaps(classes: Sequence[ClassFacts]) -> tuple[tuple[str, str, float, float], ...]:
    pairs = [
        (
            one.name,
            other.name,
            distribution_overlap(one.original, other.original),
            distribution_overlap(one.prepared, other.prepared),
        )
        for place, one in enumerate(classes)
        for other in classes[place + 1 :]
    ]
    return tuple(sorted(pairs, key=lambda pair: pair[2]))


def _duplicates(survey: Survey) -> Duplicates:
    """Find exact copies among all files, and near-duplicates among the images with a small copy, one per content."""
    labels: defaultdict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(survey.measurements):
        labels[str(one.sha256)].append(int(survey.labels[place]))
    copies = [found for found in labels.values() if len(found) > 1]
    first: dict[str, int] = {}
    for row, place in enumerate(survey.compared):
        first.setdefault(str(survey.measurements[place].sha256), row)
    rows = np.array(list(first.values()), np.intp)
    places = survey.compared[rows]
    found = [
        (survey.images[places[pair.i]], survey.images[places[pair.j]], pair)
        for pair in near_duplicates.find(survey.small[rows], None)
    ]
    order = sorted(found, key=lambda one: (one[0].label == one[1].label, one[0].patient == one[1].patient))
    return Duplicates(
        compared=len(rows),
        copies=sum(map(len, copies)),
        copies_in_several_classes=sum(len(one) for one in copies if len(set(one)) > 1),
        pairs=len(found),
        patients=sum(one.patient != other.patient for one, other, _ in found),
        classes=sum(one.label != other.label for one, other, _ in found),
        splits=sum(one.split != other.split for one, other, _ in found),
        shown=tuple((int(places[pair.i]), int(places[pair.j]), pair.similarity) for *_, pair in order[:SHOWN_PAIRS]),
    )
