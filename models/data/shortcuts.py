"""The shortcut audit's baselines: what can be told of the class without looking at the lungs.

A baseline learns from the training split, as a model does. One that is nearly as good as the model says that the labels
can be read from where a radiograph comes from, and that the model may do the same (Zech et al., PLoS Medicine 2018;
DeGrave et al., Nature Machine Intelligence 2021).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from models.radiographs.radiograph import Measurement


FILE: Final = "the file's size and format"
BORDER: Final = "the image's border"

NUMBERS: Final = ("size_bytes", "width", "height", "bit_depth", "channels")
FEATURES: Final = (*NUMBERS, "format")
FRAME: Final = 0.06
"""Share of each side that counts as border: collimation, markers and annotations lie there, lungs hardly."""
FRAME_DEPTH, FRAME_LENGTH = 4, 48
"""Pixels to which each of the four strips is reduced."""
COMPONENTS: Final = 60


def file_baseline(
    train_features: pd.DataFrame,
    train_labels: NDArray[np.integer[Any]],
    test_features: pd.DataFrame,
    n_classes: int,
) -> NDArray[np.float32]:
    """Tell the class by the file: its size in bytes, format, width, height, bit depth and channels.

    Args:
        train_features: n rows with the columns `FEATURES`; what is not known is missing (None or NaN).
        train_labels: (n,) index of the class.
        test_features: m rows of the same.
        n_classes: number of classes.

    Returns:
        (m, n_classes) probabilities.
    """
    from sklearn.ensemble import RandomForestClassifier

    formats = sorted({str(name) for name in train_features["format"].dropna()})
    # A forest takes the numbers as they are. Boosting on histograms does no better here, and its threads wait for each
    # other for a minute where other processes want the cores too.
    model = RandomForestClassifier(200, min_samples_leaf=3, class_weight="balanced", random_state=0, n_jobs=1)
    return _fit(model, _columns(train_features, formats), train_labels, _columns(test_features, formats), n_classes)


def frame_baseline(
    train_frames: NDArray[np.float32],
    train_labels: NDArray[np.integer[Any]],
    test_frames: NDArray[np.float32],
    n_classes: int,
) -> NDArray[np.float32]:
    """Tell the class by the outer frame of the preprocessed images alone, which `frames` has made small.

    Args:
        train_frames: (n, pixels), from `frames`.
        train_labels: (n,) index of the class.
        test_frames: (m, pixels).
        n_classes: number of classes.

    Returns:
        (m, n_classes) probabilities.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    components = min(COMPONENTS, *train_frames.shape) if len(train_frames) else 1
    model = make_pipeline(
        StandardScaler(),
        PCA(components, whiten=True, svd_solver="randomized", random_state=0),
        LogisticRegression(C=0.1, class_weight="balanced", max_iter=500),
    )
    return _fit(model, train_frames, train_labels, test_frames, n_classes)


def _fit(
    model: Any,
    train: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    test: NDArray[np.floating[Any]],
    n_classes: int,
) -> NDArray[np.float32]:
    """Probabilities of a model fitted to the training rows; a class that these lack is never said."""
    said = np.zeros((len(test), n_classes), np.float32)
    known = np.unique(labels)
    if len(known) <= 1 or not len(test):
        said[:] = 1 / n_classes  # nothing to learn, so it guesses
        return said
    said[:, known] = model.fit(train, labels).predict_proba(test)
    return said


def _columns(features: pd.DataFrame, formats: list[str]) -> NDArray[np.float64]:
    """Numbers as they are, formats by their number; what is missing or new is -1, which a tree can tell apart."""
    numbers = features[list(NUMBERS)].astype(np.float64).to_numpy()
    places = {name: float(place) for place, name in enumerate(formats)}
    names = [places.get(str(name), -1.0) for name in features["format"]]
    return np.column_stack([np.nan_to_num(numbers, nan=-1.0), np.array(names, np.float64)])


def frames(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the outer frame of each image (n, height, width, channels) as (n, pixels).

    The four strips along the edges, each laid lengthwise and made small. One image after the other: a memory map is not
    held in memory.
    """
    height, width = images.shape[1:3]
    depth, side = max(1, round(FRAME * height)), max(1, round(FRAME * width))
    size = (FRAME_LENGTH, FRAME_DEPTH)
    kept = np.empty((len(images), 4 * FRAME_LENGTH * FRAME_DEPTH), np.float32)
    for row, image in enumerate(images):
        grey = image.mean(axis=2, dtype=np.float32)
        left, right = grey[depth:-depth, :side].T, grey[depth:-depth, -side:].T
        strips = (grey[:depth], grey[-depth:], left, right)
        kept[row] = np.concatenate(
            [cv2.resize(np.ascontiguousarray(strip), size, interpolation=cv2.INTER_AREA).ravel() for strip in strips]
        )
    return kept


def measured_files(measurements: Sequence[Measurement]) -> Any:
    """Return what `file_features` does, of images that no database knows."""
    import pandas as pd

    from models.data.shortcuts import FEATURES

    rows = [
        {name: one.n_bytes if name == "size_bytes" else getattr(one, name) for name in FEATURES} for one in measurements
    ]
    return pd.DataFrame(rows, columns=list(FEATURES))
