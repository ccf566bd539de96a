"""Augmentation: layers that wrap a model during training. The stored model is without them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from models.recipes.catalogue import Augmentation


def with_augmentation(model: keras.Model, augmentation: Augmentation, seed: int) -> keras.Model:
    """Wrap the model in layers that vary its training images; validation images pass unchanged."""
    brightness = keras.layers.RandomBrightness(augmentation.brightness, value_range=(0, 255), seed=seed + 1)
    return keras.Sequential([keras.Input(model.input_shape[1:]), RandomShift(augmentation, seed), brightness, model])


class RandomShift(keras.layers.Layer):  # type: ignore[misc] # Keras has no type stubs
    """Rotates, shears, zooms and shifts images, with a single resampling.

    Keras has one layer for each of these, and each resamples: the model would train on smoother images than it scores.
    For the same reason some of the images pass unchanged.
    """

    def __init__(self, augmentation: Augmentation, seed: int) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.seeds = keras.random.SeedGenerator(seed)
        # XLA, which Keras would use on a GPU, cannot compile TensorFlow's resampling. JAX needs its jit.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, images: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002 - Keras passes it by name
        """Transform images (n, height, width, channels) in training; otherwise return them unchanged."""
        if not training:
            return images
        ops, how = keras.ops, self.augmentation
        height, width = images.shape[1:3]
        moved, turn, zoom, down, right = (
            keras.random.uniform((ops.shape(images)[0],), minval=low, maxval=high, seed=self.seeds)
            for low, high in (
                (0.0, 1.0),
                (-how.rotation * 2 * math.pi, how.rotation * 2 * math.pi),
                (1 - how.zoom, 1 + how.zoom),
                (-how.translation * height, how.translation * height),
                (-how.translation * width, how.translation * width),
            )
        )
        if how.whole_pixels:
            down, right = ops.round(down), ops.round(right)
        # Rows of a matrix, about the image's centre, that maps each pixel of the result to where it comes from.
        a, b = zoom * ops.cos(turn), zoom * ops.sin(turn)
        c, d = -b, a
        if how.shear:  # without shear nothing is drawn, so that such recipes train as they did before it existed
            slope = keras.random.uniform(ops.shape(a), minval=-how.shear, maxval=how.shear, seed=self.seeds)
            c, d = c + slope * a, d + slope * b
        x, y = (width - 1) / 2, (height - 1) / 2
        nothing = ops.zeros_like(a)
        matrix = ops.stack([a, c, x - a * x - c * y + right, b, d, y - b * x - d * y + down, nothing, nothing], axis=1)
        identity = ops.convert_to_tensor([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
        matrix = ops.where((moved < how.share)[:, None], matrix, identity)
        return ops.image.affine_transform(images, matrix, interpolation="bilinear", fill_mode="nearest")
