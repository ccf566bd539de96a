"""Cross-validation by patient: how well a recipe does on images of patients that it never saw.

Every image is answered once, by the model of the fold that did not learn from its patient; the answers of all folds
are pooled. Early stopping and calibration see patients of their own, so that the held-out fold decides nothing.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from models.recipes import Recipe

INNER_FOLDS: Final = 7
"""One in so many of the patients that are left beside the held-out fold validates."""
HOG_CELL: Final = 16
HOG_SIDE: Final = 128


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """What a recipe answered to images of patients that it had not seen."""

    probabilities: NDArray[np.float32]
    """(n, classes), each row from the fold that held its patient out; calibrated on validation patients."""
    accuracies: tuple[float, ...]
    """Of each fold."""
    epochs: tuple[int, ...]
    """Run in each fold."""
    seconds: float


def folds(
    labels: NDArray[np.int64], patients: Sequence[str], count: int = 5, seed: int = 0
) -> Iterator[NDArray[np.str_]]:
    """Yield each fold's split: (n,) of "train", "validation" and "test".

    Patients are never divided; the classes have about the same shares in each fold (scikit-learn's
    StratifiedGroupKFold).
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.asarray(patients)
    outer = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for rest, test in outer.split(labels, labels, groups):
        inner = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=seed)
        with warnings.catch_warnings():  # of classes with fewer patients than folds: only one fold is taken
            warnings.simplefilter("ignore", UserWarning)
            train, validation = next(iter(inner.split(rest, labels[rest], groups[rest])))
        split = np.empty(len(labels), "<U10")
        split[rest[train]], split[rest[validation]], split[test] = "train", "validation", "test"
        yield split


def crossvalidate(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    patients: Sequence[str],
    classes: tuple[str, ...],
    *,
    count: int = 5,
    seed: int = 0,
    epochs: int | None = None,
    on_epoch: Callable[[int, int, dict[str, float]], None] | None = None,
    on_fold: Callable[[int, float], None] | None = None,
) -> CrossValidated:
    """Train a recipe once for each fold and pool the answers.

    Args:
        recipe: what to train.
        images: (n, height, width, channels), preprocessed with the recipe's specification.
        labels: (n,), index into `classes`.
        patients: n identifiers.
        classes: the class names.
        count: number of folds.
        seed: of the folds and of each training.
        epochs: instead of the recipe's.
        on_epoch: called with fold (from 1), epoch (from 1) and its figures.
        on_fold: called with fold (from 1) and its accuracy.

    Raises:
        TrainingError: the data do not suffice for so many folds.
    """
    from models.training import probabilities, train

    began = time.monotonic()
    answers = np.zeros((len(labels), len(classes)), np.float32)
    accuracies, run = [], []
    for number, split in enumerate(folds(labels, patients, count, seed), 1):

        def tell(epoch: int, figures: dict[str, float], fold: int = number) -> None:
            if on_epoch:
                on_epoch(fold, epoch, figures)

        trained = train(recipe, images, labels, split, classes, seed=seed, epochs=epochs, on_epoch=tell)
        test = np.flatnonzero(split == "test")
        answers[test] = probabilities(trained.model, images, test)
        accuracies.append(float((answers[test].argmax(axis=1) == labels[test]).mean()))
        run.append(len(trained.history))
        if on_fold:
            on_fold(number, accuracies[-1])
    return CrossValidated(answers, tuple(accuracies), tuple(run), time.monotonic() - began)


def pooled(
    answer: Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]],
    labels: NDArray[np.int64],
    patients: Sequence[str],
    *,
    count: int = 5,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Let a baseline answer the same folds; it learns from training and validation patients together.

    Args:
        answer: given the rows to learn from and those to answer, returns (rows to answer, classes) probabilities.
        labels: (n,)
        patients: n identifiers.
        count: number of folds.
        seed: of the folds.

    Returns:
        Probabilities, (n, classes).
    """
    answers = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    for split in folds(labels, patients, count, seed):
        test = np.flatnonzero(split == "test")
        answers[test] = answer(np.flatnonzero(split != "test"), test)
    return answers


def gradient_histograms(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe images by histograms of oriented gradients (Dalal & Triggs, CVPR 2005).

    Args:
        images: (n, height, width, channels); the first channel is read.

    Returns:
        (n, features)
    """
    import cv2
    from skimage.feature import hog

    small = (cv2.resize(image[..., 0], (HOG_SIDE, HOG_SIDE), interpolation=cv2.INTER_AREA) for image in images)
    cells = (HOG_CELL, HOG_CELL)
    return np.stack([hog(one, pixels_per_cell=cells, cells_per_block=(2, 2)) for one in small]).astype(np.float32)


def linear_baseline(
    features: NDArray[np.float32], labels: NDArray[np.int64], train: NDArray[np.intp], test: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Answer rows of features with a linear model that learned from others: (rows of `test`, classes) probabilities."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, class_weight="balanced", max_iter=2000))
    answers: NDArray[np.float32] = model.fit(features[train], labels[train]).predict_proba(features[test])
    return answers
