"""Cross-validation by patient: how well a recipe performs on patients that it has not learned from.

Each image is predicted once, by the model of the fold that holds out its patient; the predictions of all folds are
pooled. Early stopping and calibration use other patients than the held-out ones, so the held-out fold decides nothing.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

INNER_FOLDS: Final = 7
"""One in this many of a fold's remaining patients is for validation; one in fewer where a class has fewer images."""
HOG_CELL: Final = 16
HOG_SIDE: Final = 128


def fold_splits(
    labels: NDArray[np.int64], patients: Sequence[str], count: int = 5, seed: int = 0
) -> Iterator[NDArray[np.str_]]:
    """Yield each fold's splits: (n,) of "train", "validation" and "test".

    A patient's images are always in the same split, and class shares are about equal in all folds (scikit-learn's
    StratifiedGroupKFold).
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.asarray(patients)
    outer = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for rest, test in outer.split(labels, labels, groups):
        fewest = int(np.unique(labels[rest], return_counts=True)[1].min())
        inner = StratifiedGroupKFold(min(INNER_FOLDS, max(2, fewest)), shuffle=True, random_state=seed)
        with warnings.catch_warnings():  # a class with fewer patients than folds is fine, since only one fold is used
            warnings.simplefilter("ignore", UserWarning)
            train, validation = next(iter(inner.split(rest, labels[rest], groups[rest])))
        split = np.empty(len(labels), "<U10")
        split[rest[train]], split[rest[validation]], split[test] = "train", "validation", "test"
        yield split


def pooled_predictions(
    predict: Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]],
    labels: NDArray[np.int64],
    patients: Sequence[str],
    *,
    count: int = 5,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Cross-validate a baseline on the same folds; it learns from training and validation patients together.

    Args:
        predict: from the rows to learn from and the rows to predict to (rows to predict, classes) probabilities.
        labels: (n,)
        patients: n identifiers.
        count: number of folds.
        seed: of the folds.

    Returns:
        Probabilities, (n, classes).
    """
    probabilities = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    for split in fold_splits(labels, patients, count, seed):
        test = np.flatnonzero(split == "test")
        probabilities[test] = predict(np.flatnonzero(split != "test"), test)
    return probabilities


def hog_features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe images by histograms of oriented gradients (Dalal & Triggs, CVPR 2005).

    Args:
        images: (n, height, width, channels); the first channel is used.

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
    """Fit a linear model to the rows `train` and predict the rows `test`: probabilities (rows of `test`, classes)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, class_weight="balanced", max_iter=2000))
    probabilities: NDArray[np.float32] = model.fit(features[train], labels[train]).predict_proba(features[test])
    return probabilities
