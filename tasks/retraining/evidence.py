"""Evidence: everything that a comparison report and a model card show, gathered before anything is rendered.

Images are named by the first digits of their content's hash; no object key or patient appears here as text.
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
"""Maximum number of misclassified images shown for each model."""
EXPLAINED: Final = 2
"""Images explained for each class: this many that the model got right, and as many that it got wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """Facts about the labelled images that a retraining used.

    `splits` are train, validation and test. The rest are counts: `left_out` images by reason; `near_duplicates`, pairs
    of images that look the same but are in different splits; `conflicts`, images with contradictory labels; `sources`,
    images by who labelled them; `made`, images of made data. None: not known.
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
        """Return the facts about a data set."""
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
    """One of the models compared: its metadata and its answers to the test set.

    `probabilities` are (n, classes) in the order of the test set's classes. `images` are preprocessed for this model,
    uint8 (height, width, channels) by row of the test set (an array, or a mapping with the rows of `rows_to_show`);
    `heatmaps` are Grad-CAM's (h, w), 0 to 1, by row. Missing rows are not shown.
    """

    metadata: ArtifactMetadata
    probabilities: NDArray[np.floating[Any]]
    images: Pictures = field(default_factory=dict)
    heatmaps: Mapping[int, NDArray[np.floating[Any]]] = field(default_factory=dict)

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """Its training history by epoch; empty if it was not kept."""
        found = self.metadata.training.get("history")
        return found if isinstance(found, list) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonEvidence:
    """A retraining's decision and everything it is based on.

    `outcome` is promoted, would promote, kept, declined, or waiting (for a person's approval); `failures` gives
    the reason for each recipe that gave no challenger and each challenger that did not answer; `because` is what a
    person said, or another reason that decided after the gate.
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
        """The champion, if there is one, and the challengers."""
        return [*([self.champion] if self.champion else []), *self.challengers]


@dataclass(frozen=True, slots=True)
class Case:
    """A model's answer to one image of the test set; `probability` is that of the predicted class."""

    row: int
    true: str
    predicted: str
    probability: float

    @property
    def right(self) -> bool:
        """Whether the model predicted the true class."""
        return self.true == self.predicted


def cases(test: TestSet, probabilities: NDArray[np.floating[Any]]) -> list[Case]:
    """Return a model's answer to every image, in the order of the test set."""
    predicted = np.asarray(probabilities).argmax(axis=1)
    return [
        Case(row, test.classes[int(true)], test.classes[int(best)], float(probabilities[row, best]))
        for row, (true, best) in enumerate(zip(test.labels, predicted, strict=True))
    ]


def mistakes(test: TestSet, probabilities: NDArray[np.floating[Any]], at_most: int | None = SHOWN) -> list[Case]:
    """Return a model's mistakes, the most confident first."""
    wrong = [case for case in cases(test, probabilities) if not case.right]
    return sorted(wrong, key=lambda case: (-case.probability, case.row))[:at_most]


def explained(test: TestSet, probabilities: NDArray[np.floating[Any]], each: int = EXPLAINED) -> list[Case]:
    """Choose the images to explain with Grad-CAM: for each class, the most confident hits, then the worst mistakes."""
    every = sorted(cases(test, probabilities), key=lambda case: (-case.probability, case.row))
    return [
        case
        for name in test.classes
        for right in (True, False)
        for case in [case for case in every if case.true == name and case.right is right][:each]
    ]


def rows_to_explain(test: TestSet, probabilities: NDArray[np.floating[Any]]) -> list[int]:
    """Return the test set's rows for which a report needs a model's heat maps."""
    return [case.row for case in explained(test, probabilities)]


def rows_to_show(test: TestSet, probabilities: NDArray[np.floating[Any]]) -> list[int]:
    """Return the test set's rows whose images a report shows for a model, including those explained."""
    return sorted({case.row for case in (*mistakes(test, probabilities), *explained(test, probabilities))})
