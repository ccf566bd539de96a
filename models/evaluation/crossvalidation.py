"""Cross-validation by patient: how well a recipe does on images of patients that it never saw.

Every image is answered once, by the model of the fold that did not learn from its patient; the answers of all folds
are pooled. Early stopping and calibration see patients of their own, so that the held-out fold decides nothing.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

INNER_FOLDS: Final = 7
"""One in so many of the patients that are left beside the held-out fold validates; one in fewer where a class has fewer
images."""
HOG_CELL: Final = 16
HOG_SIDE: Final = 128


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
        fewest = int(np.unique(labels[rest], return_counts=True)[1].min())
        inner = StratifiedGroupKFold(min(INNER_FOLDS, max(2, fewest)), shuffle=True, random_state=seed)
        with warnings.catch_warnings():  # of classes with fewer patients than folds: only one fold is taken
            warnings.simplefilter("ignore", UserWarning)
            train, validation = next(iter(inner.split(rest, labels[rest], groups[rest])))
        split = np.empty(len(labels), "<U10")
        split[rest[train]], split[rest[validation]], split[test] = "train", "validation", "test"
        yield split


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
