"""Evidence: all that a comparison report and a model card show, gathered before anything is drawn.

Images are named by the beginning of their content's hash; no object key and no patient gets in here as text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from models.gate.rules import DEFAULT, Gate
from models.recipes.catalogue import SPLITS
from tasks.datasets.dataset import SplitFacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from numpy.typing import NDArray

    from models.evaluation.test_set import TestSet
    from models.gate.decision import Decision
    from models.serving.artifact import ArtifactMetadata
    from tasks.datasets.dataset import Dataset, Item

    Pictures = Mapping[int, NDArray[np.uint8]] | NDArray[np.uint8]

SHOWN: Final = 24
"""Misclassified images shown of a model at most."""
EXPLAINED: Final = 2
"""Images explained of each class that the model got right, and as many that it got wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The labelled images that a retraining found.

    `splits` are train, validation and test; `left_out` are images by reason; `near_duplicates` are pairs of images that
    look the same and lie in different splits; `conflicts` are images whose sources contradict each other; `sources` are
    images by who labelled them; `made` are images of made data. None: not known.
    """

    splits: Mapping[str, SplitFacts] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    near_duplicates: int | None = None
    conflicts: int | None = None
    made: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    data_fingerprint: str | None = None
    test_fingerprint: str | None = None

    @classmethod
    def of(cls, data: Dataset, *, conflicts: int | None = None, sources: Mapping[str, int] | None = None) -> Self:
        """Return what is to be said of a data set."""
        return cls(
            splits={name: _split([item for item in data.items if item.split == name]) for name in SPLITS},
            left_out=data.left_out,
            near_duplicates=data.near_duplicates,
            conflicts=conflicts,
            made=sum(item.made for item in data.items),
            sources=sources or {},
            data_fingerprint=data.fingerprint,
            test_fingerprint=data.test_fingerprint,
        )


def _split(items: Sequence[Item]) -> SplitFacts:
    return SplitFacts(len(items), len({item.patient for item in items}), Counter(item.label for item in items))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvidence:
    """One of the models compared: what is known of it and what it said of the test set.

    `probabilities` are (n, classes) in the order of the test set's classes. `images` are preprocessed for this model,
    uint8 (height, width, channels) by row of the test set (an array, or a mapping with the rows of `rows_to_show`);
    `heatmaps` are Grad-CAM's (h, w), 0 to 1, by row. What is missing there is not shown.
    """

    metadata: ArtifactMetadata
    probabilities: NDArray[np.floating[Any]]
    images: Pictures = field(default_factory=dict)
    heatmaps: Mapping[int, NDArray[np.floating[Any]]] = field(default_factory=dict)

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """Its epochs, where they were kept."""
        found = self.metadata.training.get("history")
        return found if isinstance(found, list) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonEvidence:
    """A retraining's decision and all that it rests on.

    `outcome` is promoted, would promote, kept, declined, or waiting (for a person's approval); `failures` are recipes
    that gave no challenger and challengers that did not answer, with the reason; `because` is what a person said, or
    what else decided after the gate.
    """

    retraining_id: UUID
    decided_at: datetime
    cause: str
    code_version: str
    outcome: str
    decision: Decision
    test: TestSet
    champion: ModelEvidence | None
    challengers: Sequence[ModelEvidence]
    failures: Mapping[str, str] = field(default_factory=dict)
    data: DataFacts = field(default_factory=DataFacts)
    gate: Gate = DEFAULT
    approved_by: str | None = None
    because: str | None = None
    dry_run: bool = False

    @property
    def models(self) -> list[ModelEvidence]:
        """The champion, where there is one, and the challengers."""
        return [*([self.champion] if self.champion else []), *self.challengers]


@dataclass(frozen=True, slots=True)
class Case:
    """One image of the test set as a model sees it; `probability` is that of the class it predicted."""

    row: int
    true: str
    predicted: str
    probability: float

    @property
    def right(self) -> bool:
        """Whether the model is right."""
        return self.true == self.predicted


def cases(test: TestSet, probabilities: NDArray[np.floating[Any]]) -> list[Case]:
    """Return every image of the test set as a model sees it, in the test set's order."""
    predicted = np.asarray(probabilities).argmax(axis=1)
    return [
        Case(row, test.classes[int(true)], test.classes[int(best)], float(probabilities[row, best]))
        for row, (true, best) in enumerate(zip(test.labels, predicted, strict=True))
    ]


def mistakes(test: TestSet, probabilities: NDArray[np.floating[Any]], at_most: int | None = SHOWN) -> list[Case]:
    """Return the images that a model gets wrong, the surest mistakes first."""
    wrong = [case for case in cases(test, probabilities) if not case.right]
    return sorted(wrong, key=lambda case: (-case.probability, case.row))[:at_most]


def explained(test: TestSet, probabilities: NDArray[np.floating[Any]], each: int = EXPLAINED) -> list[Case]:
    """Choose the images to explain with Grad-CAM: of each class the surest that are right, then the surest mistakes."""
    every = sorted(cases(test, probabilities), key=lambda case: (-case.probability, case.row))
    return [
        case
        for name in test.classes
        for right in (True, False)
        for case in [case for case in every if case.true == name and case.right is right][:each]
    ]


def rows_to_explain(test: TestSet, probabilities: NDArray[np.floating[Any]]) -> list[int]:
    """Return the rows of the test set for which a report wants a model's heat maps."""
    return [case.row for case in explained(test, probabilities)]


def rows_to_show(test: TestSet, probabilities: NDArray[np.floating[Any]]) -> list[int]:
    """Return the rows of the test set of which a report shows a model's pictures, those explained among them."""
    return sorted({case.row for case in (*mistakes(test, probabilities), *explained(test, probabilities))})
