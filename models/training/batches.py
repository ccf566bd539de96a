"""Batches of images for training and for prediction, read from an array that may be a memory map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ANSWERED_AT_ONCE: Final = 32
"""Images in a batch of validation or prediction."""


class Batches(keras.utils.PyDataset):  # type: ignore[misc] # Keras has no type stubs
    """Batches of some rows of an array, shuffled if there is a seed.

    The order in an epoch depends only on the seed and the epoch's number, so a resumed training sees the batches that
    the interrupted one would have seen.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer[Any]],
        rows: NDArray[np.intp],
        batch_size: int,
        weights: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.images, self.labels, self.weights = images, labels, weights
        self.batch_size, self.seed = batch_size, seed
        self.every = self.rows = rows

    def begin(self, epoch: int) -> None:
        """Shuffle for an epoch (from 0)."""
        if self.seed is not None:
            self.rows = np.random.default_rng([self.seed, epoch]).permutation(self.every)

    def __len__(self) -> int:
        return math.ceil(len(self.every) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], ...]:
        rows = np.sort(
            self.rows[index * self.batch_size : (index + 1) * self.batch_size]
        )  # a disk reads faster in order
        labels = self.labels[rows]
        weights = np.ones(len(rows), np.float32) if self.weights is None else self.weights[labels]
        return self.images[rows], labels, weights


def class_weights(labels: NDArray[np.integer[Any]], classes: int) -> NDArray[np.float32]:
    """Return the weight of each class with which all classes count equally: n / (classes * count)."""
    weights: NDArray[np.float32] = (len(labels) / (classes * np.bincount(labels, minlength=classes))).astype(np.float32)
    return weights


def probabilities(model: keras.Model, images: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Predict some rows of images (n, height, width, channels): float32 (rows, classes)."""
    parts = [
        np.asarray(model.predict_on_batch(images[rows[start : start + ANSWERED_AT_ONCE]]), np.float32)
        for start in range(0, len(rows), ANSWERED_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty((0, model.output_shape[-1]), np.float32)


def across_classes(rows: NDArray[np.intp], labels: NDArray[np.integer[Any]], size: int) -> NDArray[np.intp]:
    """Return up to `size` of the rows, taken from each class in turn."""
    turn = np.zeros(len(rows), np.intp)
    for value in np.unique(labels[rows]):
        turn[labels[rows] == value] = np.arange((labels[rows] == value).sum())
    return np.sort(rows[np.argsort(turn, kind="stable")[:size]])
