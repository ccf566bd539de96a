"""Augmentation: layers around a model while it is trained, which are gone when it is kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from models.recipes.catalogue import Augmentation


def with_augmentation(model: keras.Model, augmentation: Augmentation, seed: int) -> keras.Model:
    """Wrap the model so that training images vary; the layers do nothing in validation."""
    brightness = keras.layers.RandomBrightness(augmentation.brightness, value_range=(0, 255), seed=seed + 1)
    return keras.Sequential([keras.Input(model.input_shape[1:]), RandomShift(augmentation, seed), brightness, model])


class RandomShift(keras.layers.Layer):  # type: ignore[misc] # Keras has no type stubs
    """Turns, shears, zooms and moves images in one resampling.

    Keras's own layers for the three resample once each, which smooths an image three times: the model would then be
    trained on smoother images than it scores. For the same reason a share of the images passes untouched.
    """

    def __init__(self, augmentation: Augmentation, seed: int) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.seeds = keras.random.SeedGenerator(seed)
        # TensorFlow's resampling is not in XLA, which Keras would use on a GPU; JAX needs its jit.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, images: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002 - Keras passes it by name
        """Move (n, height, width, channels) where `training`."""
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
        # Rows of the matrix that maps a pixel of the result to where it comes from, about the image's centre.
        a, b = zoom * ops.cos(turn), zoom * ops.sin(turn)
        c, d = -b, a
        if how.shear:  # only then is anything drawn: recipes without it see what they always saw
            slope = keras.random.uniform(ops.shape(a), minval=-how.shear, maxval=how.shear, seed=self.seeds)
            c, d = c + slope * a, d + slope * b
        x, y = (width - 1) / 2, (height - 1) / 2
        nothing = ops.zeros_like(a)
        matrix = ops.stack([a, c, x - a * x - c * y + right, b, d, y - b * x - d * y + down, nothing, nothing], axis=1)
        identity = ops.convert_to_tensor([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
        matrix = ops.where((moved < how.share)[:, None], matrix, identity)
        return ops.image.affine_transform(images, matrix, interpolation="bilinear", fill_mode="nearest")
