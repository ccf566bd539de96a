"""Images with a bright spot whose place is the class, and a small model that learned to see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.radiographs.preprocessing import PreprocessingSpec
from models.recipes.catalogue import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.serving.artifact import ArtifactMetadata

CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")
SMALL = Recipe(
    name="small",
    architecture="compact_cnn",
    preprocessing=PreprocessingSpec(height=48, width=48),
    epochs=6,
    batch_size=16,
)


@dataclass(frozen=True)
class Data:
    """Images with a bright spot whose place is the class; of twenty, fourteen train, three validate, three test."""

    images: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]
    splits: NDArray[np.str_]
    places: NDArray[np.floating[Any]]
    """(n, 2): row and column of the spot."""


@dataclass(frozen=True)
class Saved:
    """An artifact's folder and what was written there."""

    folder: Path
    metadata: ArtifactMetadata


def make_data(n: int, seed: int = 0) -> Data:
    random = np.random.default_rng(seed)
    labels = np.arange(n) // 2 % 3
    y, x = np.mgrid[:48, :48]
    places = np.array([(12, 12), (36, 36), (12, 36)])[labels] + random.normal(0, 2, (n, 2))
    spots = np.exp(-((y - places[:, 0, None, None]) ** 2 + (x - places[:, 1, None, None]) ** 2) / 40)
    images = np.clip(90 + 110 * spots + random.normal(0, 15, (n, 48, 48)), 0, 255).astype(np.uint8)
    splits = np.array(["train"] * 14 + ["validation"] * 3 + ["test"] * 3)[np.arange(n) % 20]
    return Data(images[..., None], labels, splits, places)
