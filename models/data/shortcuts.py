"""Baselines of the shortcut audit: how well the class can be predicted without looking at the lungs.

A baseline learns from the training split, as a model does. A baseline that is nearly as good as the model shows that
the labels can be inferred from a radiograph's origin, and that the model may do the same (Zech et al., PLoS Medicine
2018; DeGrave et al., Nature Machine Intelligence 2021).
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


FILE_BASELINE: Final = "the file's size and format"
BORDER_BASELINE: Final = "the image's border"

NUMERIC_FEATURES: Final = ("size_bytes", "width", "height", "bit_depth", "channels")
FILE_FEATURES: Final = (*NUMERIC_FEATURES, "format")
BORDER_SHARE: Final = 0.06
"""Share of each side that counts as border: it contains collimation, markers and annotations, but hardly any lung."""
STRIP_DEPTH, STRIP_LENGTH = 4, 48
"""Pixels to which each of the border's four strips is reduced."""
MAX_COMPONENTS: Final = 60
"""Maximum number of principal components of the border baseline."""


def file_baseline(
    train_features: pd.DataFrame,
    train_labels: NDArray[np.integer[Any]],
    test_features: pd.DataFrame,
    n_classes: int,
) -> NDArray[np.float32]:
    """Predict the class from the file's properties: size in bytes, format, width, height, bit depth and channels.

    Args:
        train_features: n rows with the columns `FILE_FEATURES`; unknown values are None or NaN.
        train_labels: (n,) index of the class.
        test_features: m rows with the same columns.
        n_classes: number of classes.

    Returns:
        (m, n_classes) probabilities.
    """
    from sklearn.ensemble import RandomForestClassifier

    formats = sorted({str(name) for name in train_features["format"].dropna()})
    # Not histogram-based boosting: it is no better here, and its threads block each other for a minute when other
    # processes use the cores too.
    model = RandomForestClassifier(200, min_samples_leaf=3, class_weight="balanced", random_state=0, n_jobs=1)
    train, test = _encode_features(train_features, formats), _encode_features(test_features, formats)
    return _fit_and_predict(model, train, train_labels, test, n_classes)


def border_baseline(
    train_borders: NDArray[np.float32],
    train_labels: NDArray[np.integer[Any]],
    test_borders: NDArray[np.float32],
    n_classes: int,
) -> NDArray[np.float32]:
    """Predict the class from the border of the preprocessed images only.

    Args:
        train_borders: (n, pixels), from `border_pixels`.
        train_labels: (n,) index of the class.
        test_borders: (m, pixels).
        n_classes: number of classes.

    Returns:
        (m, n_classes) probabilities.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    components = min(MAX_COMPONENTS, *train_borders.shape) if len(train_borders) else 1
    model = make_pipeline(
        StandardScaler(),
        PCA(components, whiten=True, svd_solver="randomized", random_state=0),
        LogisticRegression(C=0.1, class_weight="balanced", max_iter=500),
    )
    return _fit_and_predict(model, train_borders, train_labels, test_borders, n_classes)


def _fit_and_predict(
    model: Any,
    train: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    test: NDArray[np.floating[Any]],
    n_classes: int,
) -> NDArray[np.float32]:
    """Fit a model to the training rows and predict the test rows; classes without training rows get probability 0."""
    probabilities = np.zeros((len(test), n_classes), np.float32)
    known = np.unique(labels)
    if len(known) <= 1 or not len(test):
        probabilities[:] = 1 / n_classes  # there is nothing to learn
        return probabilities
    probabilities[:, known] = model.fit(train, labels).predict_proba(test)
    return probabilities


def _encode_features(features: pd.DataFrame, formats: list[str]) -> NDArray[np.float64]:
    """Encode formats by their position in `formats`, and missing values and new formats as -1, which a tree can use."""
    numbers = features[list(NUMERIC_FEATURES)].astype(np.float64).to_numpy()
    codes = {name: float(code) for code, name in enumerate(formats)}
    encoded = [codes.get(str(name), -1.0) for name in features["format"]]
    return np.column_stack([np.nan_to_num(numbers, nan=-1.0), np.array(encoded, np.float64)])


def border_pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the borders of images (n, height, width, channels) as (n, pixels).

    A border is the four strips along the edges, left and right transposed, each reduced in size. Images are read one by
    one, so a memory map is never loaded as a whole.
    """
    height, width = images.shape[1:3]
    depth, side = max(1, round(BORDER_SHARE * height)), max(1, round(BORDER_SHARE * width))
    size = (STRIP_LENGTH, STRIP_DEPTH)
    borders = np.empty((len(images), 4 * STRIP_LENGTH * STRIP_DEPTH), np.float32)
    for row, image in enumerate(images):
        grey = image.mean(axis=2, dtype=np.float32)
        left, right = grey[depth:-depth, :side].T, grey[depth:-depth, -side:].T
        strips = (grey[:depth], grey[-depth:], left, right)
        borders[row] = np.concatenate(
            [cv2.resize(np.ascontiguousarray(strip), size, interpolation=cv2.INTER_AREA).ravel() for strip in strips]
        )
    return borders


def features_of_measurements(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Return the file baseline's features from measurements: the columns `FILE_FEATURES`."""
    import pandas as pd

    rows = [
        {name: one.n_bytes if name == "size_bytes" else getattr(one, name) for name in FILE_FEATURES}
        for one in measurements
    ]
    return pd.DataFrame(rows, columns=list(FILE_FEATURES))
