"""Shortcut baselines: how well the classes of labelled images can be predicted without looking at the lungs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from models.data.shortcuts import BORDER_BASELINE, FILE_BASELINE, features_of_measurements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tasks.data_report.survey import Survey

FOLDS: Final = 5
MIN_PATIENTS: Final = 10
"""Per class, for the baselines: two in each fold."""
RESAMPLES: Final = 2000
CONFIDENCE: Final = 0.95
STRONG_SHARE: Final = 0.2
"""A shortcut is strong if the interval's lower end covers at least this share of the way from chance to perfect."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """How well one kind of shortcut predicts the classes, cross-validated by patient."""

    sees: str
    value: float
    low: float
    high: float
    """Balanced accuracy with its 95 % interval, from resampled patients."""
    chance: float
    sensitivity: Mapping[str, float]
    """Sensitivity of each class."""

    @property
    def strength(self) -> str:
        """How well the shortcut separates the classes: strong, weak or none."""
        if self.low <= self.chance:
            return "none"
        return "strong" if (self.low - self.chance) / (1 - self.chance) >= STRONG_SHARE else "weak"


@dataclass(frozen=True, slots=True)
class BaselineResults:
    """The results of the baselines; empty if fewer than two classes have enough patients."""

    baselines: tuple[Baseline, ...]
    classes: tuple[str, ...]
    """Classes with enough patients."""
    images: int
    """Number of images used."""


def run_baselines(survey: Survey) -> BaselineResults:
    """Cross-validate the shortcut audit's baselines, in five folds by patient, on classes with enough patients."""
    from models.data import shortcuts
    from models.evaluation.crossvalidation import pooled_predictions

    labels = survey.labels[survey.compared]
    owners = np.array([survey.images[place].patient for place in survey.compared])
    enough = [place for place in range(len(survey.classes)) if len(set(owners[labels == place])) >= MIN_PATIENTS]
    judged = tuple(survey.classes[place] for place in enough)
    if len(enough) < 2:  # noqa: PLR2004 - nothing to tell apart
        return BaselineResults((), judged, 0)
    rows = np.flatnonzero(np.isin(labels, enough))
    truth, groups = np.searchsorted(enough, labels[rows]), owners[rows].tolist()
    features = features_of_measurements([survey.measurements[place] for place in survey.compared[rows]])
    frames = survey.frames[rows]

    def by_file(train: NDArray[np.intp], test: NDArray[np.intp]) -> NDArray[np.float32]:
        return shortcuts.file_baseline(features.iloc[train], truth[train], features.iloc[test], len(enough))

    def by_border(train: NDArray[np.intp], test: NDArray[np.intp]) -> NDArray[np.float32]:
        return shortcuts.border_baseline(frames[train], truth[train], frames[test], len(enough))

    return BaselineResults(
        tuple(
            _scored(sees, pooled_predictions(answer, truth, groups, count=FOLDS), truth, groups, judged)
            for sees, answer in ((FILE_BASELINE, by_file), (BORDER_BASELINE, by_border))
        ),
        judged,
        len(rows),
    )


def _scored(
    sees: str, answers: NDArray[np.float32], truth: NDArray[np.intp], patients: Sequence[str], classes: Sequence[str]
) -> Baseline:
    """Score answers by balanced accuracy, with the interval of the patient bootstrap, as for models."""
    from models.evaluation.bootstrap import confusion_figures, confusion_matrices, percentile_interval, resample_weights

    size = len(classes)
    present = np.ones(size, bool)
    said = answers.argmax(axis=1)
    point = confusion_figures(confusion_matrices(truth, said, size, np.ones((1, len(truth)), np.uint8)), present)
    drawn = confusion_matrices(truth, said, size, resample_weights(patients, RESAMPLES, seed=0))
    low, high = percentile_interval(confusion_figures(drawn, present)["balanced_accuracy"], CONFIDENCE)
    value = float(point["balanced_accuracy"][0])
    return Baseline(
        sees, value, value if low is None else low, value if high is None else high, 1 / size,
        dict(zip(classes, point["sensitivity"][0].tolist(), strict=True)),
    )  # fmt: skip
