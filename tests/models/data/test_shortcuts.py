"""The shortcut audit's baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.data.shortcuts import border_baseline, border_pixels, file_baseline

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def files(labels: NDArray[np.int64], *, telling: bool, seed: int = 0) -> pd.DataFrame:
    """Files whose width is that of their class's hospital if `telling`, otherwise of any hospital."""
    random = np.random.default_rng(seed)
    hospital = labels if telling else random.integers(0, 3, len(labels))
    return pd.DataFrame(
        {
            "size_bytes": random.integers(100_000, 900_000, len(labels)),
            "width": np.array([1024, 2048, 3000])[hospital] + random.integers(0, 50, len(labels)),
            "height": random.integers(1000, 3000, len(labels)),
            "bit_depth": np.where(random.random(len(labels)) < 0.1, np.nan, 8),
            "channels": 1,
            "format": random.choice(["JPEG", "PNG", None], len(labels)),
        }
    )


def pictures(labels: NDArray[np.int64], *, framed: bool, seed: int = 0) -> NDArray[np.uint8]:
    """Noise that reveals the class in the border if `framed`, otherwise in the middle."""
    images = np.random.default_rng(seed).integers(0, 120, (len(labels), 64, 64, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        if framed:
            image[:3] += np.uint8(40 * label)
        else:
            image[24:40, 24:40] += np.uint8(40 * label)
    return images


def right(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    assert probabilities.shape == (len(labels), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    return float((probabilities.argmax(axis=1) == labels).mean())


TRAIN, TEST = np.arange(240) % 3, np.arange(90) % 3


def test_the_file_baseline_finds_the_class_where_the_file_reveals_it() -> None:
    for telling, low, high in ((True, 0.95, 1.0), (False, 0.15, 0.55)):
        train, test = files(TRAIN, telling=telling), files(TEST, telling=telling, seed=1)
        assert low <= right(file_baseline(train, TRAIN, test, 3), TEST) <= high


def test_the_border_baseline_sees_only_the_border() -> None:
    for framed, low, high in ((True, 0.95, 1.0), (False, 0.15, 0.55)):
        train, test = pictures(TRAIN, framed=framed), pictures(TEST, framed=framed, seed=1)
        assert low <= right(border_baseline(border_pixels(train), TRAIN, border_pixels(test), 3), TEST) <= high


def test_a_baseline_copes_with_what_training_lacks() -> None:
    two = np.arange(60) % 2
    said = border_baseline(
        border_pixels(pictures(two, framed=True)), two, border_pixels(pictures(TEST, framed=True)), 3
    )
    assert (said[:, 2] == 0).all()
    one = np.zeros(20, np.int64)
    assert (file_baseline(files(one, telling=True), one, files(TEST, telling=True), 3) == np.float32(1 / 3)).all()
    unknown = files(TRAIN, telling=True).assign(size_bytes=None, bit_depth=None, format=None)
    assert right(file_baseline(unknown, TRAIN, unknown, 3), TRAIN) > 0.95
    none = border_pixels(np.empty((0, 64, 64, 1), np.uint8))
    assert border_baseline(border_pixels(pictures(two, framed=True)), two, none, 3).shape == (0, 3)


def test_the_file_alone_reveals_much_about_the_public_radiographs(xrays: Path) -> None:
    """Why the audit exists: the sheet's widths and heights alone separate all COVID-19 images from the rest."""
    sheet = pd.read_csv(xrays / "radiographs" / "labels.csv")
    labels = sheet["label"].astype("category").cat.codes.to_numpy().astype(np.int64)
    features = pd.DataFrame(
        {
            "size_bytes": None,
            "width": sheet["original_width"],
            "height": sheet["original_height"],
            "bit_depth": 8,
            "channels": 1,
            "format": "JPEG",
        }
    )
    test = sheet["patient_id"].map(lambda name: sum(map(ord, str(name))) % 5 == 0).to_numpy()
    said = file_baseline(features[~test], labels[~test], features[test], 3)
    covid = labels[test] == 0
    assert (said[covid].argmax(axis=1) == 0).mean() > 0.9
