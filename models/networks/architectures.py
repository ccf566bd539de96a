"""Network architectures by name; a recipe names the one that it trains.

Every architecture takes grey values 0 to 255 and scales them in the graph, so a scorer cannot normalise differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import keras
import numpy as np
from keras import layers

from models.networks.backbones import BACKBONE_NETWORKS
from models.networks.head import classification_head
from models.networks.student_networks import STUDENT_NETWORKS

if TYPE_CHECKING:
    from collections.abc import Callable

COMPACT_CNN_LAYERS: Final = ((32, 7, 4), (64, 3, 2), (128, 3, 2), (128, 3, 1), (256, 3, 2), (256, 3, 1))
"""Filters, kernel size and stride of each convolution of the compact CNN. The first stride of 4 halves its run time."""
BATCH_NORM_MOMENTUM: Final = 0.9
"""Batch normalisation momentum. Keras's default of 0.99 needs hundreds of steps; a small data set has tens an epoch."""
PATTERN_RADII: Final = (1, 2, 4)
"""Distances in pixels from the centre of a local binary pattern to its neighbours."""
NEIGHBOUR_OFFSETS: Final = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""Row and column offsets of the eight neighbours, clockwise."""
PATTERN_STRIDE: Final = 4
"""Patterns are read at every fourth row and column, a sixteenth of the work. On 899 radiographs it cost no accuracy."""
CELL_SIDE: Final = 32
"""Side in pixels of the cells in which patterns are counted; a coarse cell is twice as large."""


def build(name: str, shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """Build an architecture by name.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"no architecture is called {name!r}; known: {', '.join(sorted(ARCHITECTURES))}")
    return ARCHITECTURES[name](shape, classes, seed)


def compact_cnn(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """A plain stack of strided convolutions, 1.1 million parameters, trained from scratch.

    Args:
        shape: (height, width, channels) of one preprocessed image.
        classes: number of classes.
        seed: of the initial weights.

    Returns:
        Model from (n, height, width, channels), values 0 to 255 of any numeric type, to float32 (n, classes).
    """
    inputs = keras.Input(shape, name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(inputs)
    for number, (filters, kernel, stride) in enumerate(COMPACT_CNN_LAYERS):
        x = layers.Conv2D(
            filters,
            kernel,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(seed=seed + number),
            name=f"conv{number}",
        )(x)
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"norm{number}")(x)
        x = layers.Activation("relu", name=f"relu{number}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, classification_head(x, classes, seed + len(COMPACT_CNN_LAYERS)), name="compact_cnn")


def local_patterns(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """A small network on fine texture: histograms of local binary patterns, computed by fixed convolutions.

    A pattern has eight bits: whether each of a pixel's eight neighbours is at least as bright as the pixel. The 58
    uniform patterns, with at most two changes around the circle, are counted (Ojala et al., IEEE TPAMI 24, 2002) in
    cells of 32 and 64 pixels (Ahonen et al., IEEE TPAMI 28, 2006), at three radii. Juefei-Xu et al., CVPR 2017, use
    thresholded differences as a fixed first layer. Smoothing destroys patterns, so the network needs large images and
    an augmentation that shifts by whole pixels and neither rotates nor zooms.

    A dense layer reads the coarse histograms with their positions. Convolutions read the fine histograms together with
    the image at a quarter of its size. The network has 2.3 million trainable parameters at 448x448.

    Args:
        shape: (height, width, channels) of one preprocessed image.
        classes: number of classes.
        seed: of the initial weights.

    Returns:
        Model from (n, height, width, channels), values 0 to 255 of any numeric type, to float32 (n, classes).
    """
    seeds = iter(range(seed, seed + 100))
    inputs = keras.Input(shape, name="pixels")
    fine = layers.Concatenate(name="fine")([_pattern_shares(inputs, radius) for radius in PATTERN_RADII])
    coarse = layers.AveragePooling2D(2, padding="same", name="coarse")(fine)
    placed = layers.Rescaling(4.0, offset=-0.6, name="centre")(_compress(coarse, "coarse"))
    placed = layers.Dropout(0.3, seed=next(seeds), name="drop_counts")(layers.Flatten(name="places")(placed))
    initial = keras.initializers.HeNormal(seed=next(seeds))
    placed = layers.Dense(256, activation="relu", kernel_initializer=initial, name="wide")(placed)

    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name="norm_counts")(_compress(fine, "fine"))
    x = layers.SpatialDropout2D(0.1, seed=next(seeds), name="drop_patterns")(x)
    x = _convolution(x, 64, 1, next(seeds), "mix")
    small = layers.AveragePooling2D(PATTERN_STRIDE, padding="same", name="small")(inputs)
    small = layers.Rescaling(1 / 64, offset=-2.0, name="rescale")(small)
    small = _convolution(small, 32, 4, next(seeds), "small_conv0", strides=4)
    small = _convolution(small, 48, 3, next(seeds), "small_conv1", strides=2)
    x = layers.Concatenate(name="patterns_and_image")([x, small])
    x = _convolution(x, 64, 3, next(seeds), "conv0")
    x = layers.MaxPooling2D(2, padding="same", name="strongest")(x)
    x = _convolution(x, 96, 3, next(seeds), "conv1")
    x = layers.GlobalAveragePooling2D(name="pool")(x)

    x = layers.Concatenate(name="features")([placed, x])
    x = layers.Dropout(0.5, seed=next(seeds), name="drop_features")(x)
    return keras.Model(inputs, classification_head(x, classes, next(seeds)), name="local_patterns")


def _pattern_shares(pixels: keras.KerasTensor, radius: int) -> keras.KerasTensor:
    """Share of each uniform pattern in cells of 32x32 pixels, read at every fourth row and column: (n, y, x, 58)."""
    size = 2 * radius + 1
    # Grey values are integers. With a gain of 6 and an offset of 3, Keras's hard sigmoid relu6(x + 3) / 6 is 1 for
    # differences of 0 and more, and 0 for -1 and less: a step function without a custom operation.
    differences = np.zeros((size, size, pixels.shape[-1], len(NEIGHBOUR_OFFSETS)), np.float32)
    for number, (down, right) in enumerate(NEIGHBOUR_OFFSETS):
        differences[radius + radius * down, radius + radius * right, 0, number] = 6.0
    differences[radius, radius, 0] = -6.0
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    uniform = bits[(bits != np.roll(bits, 1, axis=1)).sum(axis=1) <= 2].astype(np.float32)  # noqa: PLR2004 - Ojala's U2
    neighbours = layers.Conv2D(
        len(NEIGHBOUR_OFFSETS),
        size,
        strides=PATTERN_STRIDE,
        padding="same",
        trainable=False,
        name=f"neighbours{radius}",
    )
    # The number of bits that agree with a template, minus seven: 1 where all eight agree, otherwise ReLU makes it 0.
    templates = layers.Conv2D(len(uniform), 1, activation="relu", trainable=False, name=f"templates{radius}")
    x = templates(layers.Activation("hard_sigmoid", name=f"bits{radius}")(neighbours(pixels)))
    neighbours.set_weights([differences, np.full(len(NEIGHBOUR_OFFSETS), 3, np.float32)])
    templates.set_weights([(2 * uniform.T - 1)[None, None], 1 - uniform.sum(axis=1)])
    return layers.AveragePooling2D(CELL_SIDE // PATTERN_STRIDE, padding="same", name=f"counts{radius}")(x)


def _compress(shares: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Compress shares (0 to 1) as a square root would: doubling a rare pattern counts about as much as a common one."""
    return layers.Activation("softsign", name=f"{name}_compressed")(layers.Rescaling(20.0, name=f"{name}_gain")(shares))


def _convolution(
    x: keras.KerasTensor, filters: int, kernel: int, seed: int, name: str, strides: int = 1
) -> keras.KerasTensor:
    """Convolution, batch normalisation, ReLU."""
    initial = keras.initializers.HeNormal(seed=seed)
    x = layers.Conv2D(
        filters, kernel, strides=strides, padding="same", use_bias=False, kernel_initializer=initial, name=name
    )(x)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


ARCHITECTURES: Final[dict[str, Callable[[tuple[int, int, int], int, int], keras.Model]]] = {
    "compact_cnn": compact_cnn,
    "local_patterns": local_patterns,
    **STUDENT_NETWORKS,
    **BACKBONE_NETWORKS,
}
