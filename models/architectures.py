"""Network architectures, by name; a recipe says which one it trains.

Every architecture takes grey values 0..255 and scales them inside the graph: a scorer cannot normalise differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import keras
from keras import layers

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS: Final = ((32, 7, 4), (64, 3, 2), (128, 3, 2), (128, 3, 1), (256, 3, 2), (256, 3, 1))
"""Filters, kernel size and stride of each convolution of the compact CNN. The stem's stride of 4 halves its time."""


def build(name: str, shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """Build an architecture by its name; an unknown name raises ValueError, which lists the known ones."""
    if name not in ARCHITECTURES:
        raise ValueError(f"no architecture is called {name!r}; known: {', '.join(sorted(ARCHITECTURES))}")
    return ARCHITECTURES[name](shape, classes, seed)


def compact_cnn(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """A plain stack of strided convolutions, 1.1 million parameters, trained from scratch.

    Args:
        shape: (height, width, channels) of one preprocessed image.
        classes: how many probabilities come out.
        seed: of the initial weights.

    Returns:
        Model from (n, height, width, channels), values 0..255 of any number type, to float32 (n, classes).
    """
    inputs = keras.Input(shape, name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(inputs)
    for number, (filters, kernel, stride) in enumerate(BLOCKS):
        x = layers.Conv2D(
            filters,
            kernel,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(seed=seed + number),
            name=f"conv{number}",
        )(x)
        # Keras's default momentum of 0.99 needs hundreds of steps; a small data set has tens in an epoch.
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x)
        x = layers.Activation("relu", name=f"relu{number}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    head = keras.initializers.GlorotUniform(seed=seed + len(BLOCKS))
    x = layers.Dense(classes, kernel_initializer=head, name="logits")(x)
    # float32 whatever the policy of the rest: half-precision probabilities do not sum to one.
    outputs = layers.Activation("softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, outputs, name="compact_cnn")


ARCHITECTURES: Final[dict[str, Callable[[tuple[int, int, int], int, int], keras.Model]]] = {"compact_cnn": compact_cnn}
