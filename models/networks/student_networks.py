"""The convolutional networks that the five student reports designed themselves, trained from scratch.

Each takes grey values 0 to 255 and scales them inside the graph. The layers follow the reports, so the published
parameter counts hold. What a report leaves open was chosen here; `models.recipes.student_reports` lists these choices.
Batch normalisation has a momentum of 0.9, which the Harrisburg report names and a small data set needs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import keras
from keras import layers

from models.networks.head import classification_head, single_unit_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH_NORM_MOMENTUM: Final = 0.9


def coronahack_cnn(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """Four blocks of convolution, batch normalisation, ReLU and pooling, then global average pooling.

    The report only calls its network self-defined, so the layers were chosen here.

    Args:
        shape: (height, width, channels) of one preprocessed image.
        classes: number of classes.
        seed: of the initial weights.

    Returns:
        Model from (n, height, width, channels), values 0 to 255 of any numeric type, to float32 (n, classes).
    """
    inputs, x, seeds = _scaled_input(shape, seed)
    for number, filters in enumerate((32, 64, 128, 256)):
        x = _normalised_convolution(x, filters, next(seeds), f"conv{number}")
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = _dense(x, 256, next(seeds), "dense")
    x = layers.Dropout(0.5, seed=next(seeds), name="dropout")(x)
    return keras.Model(inputs, classification_head(x, classes, next(seeds)), name="coronahack_cnn")


def carson_simple(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """Five convolutions with average pooling between them, and a dense layer of 512 units.

    See `coronahack_cnn` for the arguments.
    """
    inputs, x, seeds = _scaled_input(shape, seed)
    for number, filters in enumerate((16, 32, 64, 128, 256)):
        if number:
            x = layers.AveragePooling2D(2, name=f"pool{number}")(x)
        x = _unpadded_convolution(x, filters, next(seeds), f"conv{number}")
    x = _dense(layers.Flatten(name="features")(x), 512, next(seeds), "dense")
    return keras.Model(inputs, single_unit_head(x, classes, next(seeds)), name="carson_simple")


def carson_final(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """Five convolutions, each followed by max pooling: 1,448,257 parameters at 256x256x3 with two classes.

    See `coronahack_cnn` for the arguments.
    """
    inputs, x, seeds = _scaled_input(shape, seed)
    for number, filters in enumerate((16, 64, 64, 128, 128)):
        x = layers.MaxPooling2D(2, name=f"pool{number}")(
            _unpadded_convolution(x, filters, next(seeds), f"conv{number}")
        )
    x = _dense(layers.Flatten(name="features")(x), 256, next(seeds), "dense")
    x = layers.Dropout(0.5, seed=next(seeds), name="dropout")(x)
    return keras.Model(inputs, single_unit_head(x, classes, next(seeds)), name="carson_final")


def harrisburg_cnn(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """Three blocks of two convolutions: 18,129,890 parameters at 299x299x1 with two classes, 18,129,442 trainable.

    See `coronahack_cnn` for the arguments.
    """
    inputs, x, seeds = _scaled_input(shape, seed)
    for number, filters in enumerate((32, 64, 128)):
        x = _unpadded_convolution(x, filters, next(seeds), f"conv{number}a")
        x = _unpadded_convolution(x, filters, next(seeds), f"conv{number}b")
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"norm{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = _dense(layers.Flatten(name="features")(x), 128, next(seeds), "dense")
    return keras.Model(inputs, classification_head(x, classes, next(seeds)), name="harrisburg_cnn")


def covientist_cnn(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """Three blocks of convolution, batch normalisation, ReLU and max pooling by 4, 2 and 2.

    At 224x224 the last feature maps are 14x14x256, as published. See `coronahack_cnn` for the arguments.
    """
    inputs, x, seeds = _scaled_input(shape, seed)
    for number, (filters, pool) in enumerate(((128, 4), (128, 2), (256, 2))):
        x = layers.MaxPooling2D(pool, name=f"pool{number}")(
            _normalised_convolution(x, filters, next(seeds), f"conv{number}")
        )
    x = _dense(layers.Flatten(name="features")(x), 256, next(seeds), "dense")
    x = layers.Dropout(0.5, seed=next(seeds), name="dropout")(x)
    return keras.Model(inputs, classification_head(x, classes, next(seeds)), name="covientist_cnn")


def karcevski(
    shape: tuple[int, int, int], classes: int, seed: int = 0, *, name: str, filters: tuple[int, ...], width: int,
    dropout: float = 0.0,
) -> keras.Model:  # fmt: skip
    """Convolutions with ReLU and max pooling, then a dense layer.

    Args:
        shape: (height, width, channels) of one preprocessed image.
        classes: number of classes.
        seed: of the initial weights.
        name: of the network.
        filters: of each convolution.
        width: units of the dense layer.
        dropout: after the dense layer; 0 for none.
    """
    inputs, x, seeds = _scaled_input(shape, seed)
    for number, count in enumerate(filters):
        x = layers.MaxPooling2D(2, name=f"pool{number}")(_unpadded_convolution(x, count, next(seeds), f"conv{number}"))
    x = _dense(layers.Flatten(name="features")(x), width, next(seeds), "dense")
    if dropout:
        x = layers.Dropout(dropout, seed=next(seeds), name="dropout")(x)
    return keras.Model(inputs, classification_head(x, classes, next(seeds)), name=name)


def _scaled_input(shape: tuple[int, int, int], seed: int) -> tuple[keras.KerasTensor, keras.KerasTensor, Iterator[int]]:
    """The input, the input scaled to 0 to 1, and seeds for the layers."""
    inputs = keras.Input(shape, name="pixels")
    return inputs, layers.Rescaling(1 / 255, name="rescale")(inputs), iter(range(seed, seed + 100))


def _unpadded_convolution(x: keras.KerasTensor, filters: int, seed: int, name: str) -> keras.KerasTensor:
    """3x3 convolution without padding, ReLU."""
    initial = keras.initializers.GlorotUniform(seed=seed)
    return layers.Conv2D(filters, 3, activation="relu", kernel_initializer=initial, name=name)(x)


def _normalised_convolution(x: keras.KerasTensor, filters: int, seed: int, name: str) -> keras.KerasTensor:
    """3x3 convolution with padding, batch normalisation, ReLU."""
    initial = keras.initializers.GlorotUniform(seed=seed)
    x = layers.Conv2D(filters, 3, padding="same", kernel_initializer=initial, name=name)(x)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _dense(x: keras.KerasTensor, width: int, seed: int, name: str) -> keras.KerasTensor:
    initial = keras.initializers.GlorotUniform(seed=seed)
    return layers.Dense(width, activation="relu", kernel_initializer=initial, name=name)(x)


STUDENT_NETWORKS: Final[dict[str, Callable[[tuple[int, int, int], int, int], keras.Model]]] = {
    "coronahack_cnn": coronahack_cnn,
    "carson_simple": carson_simple,
    "carson_final": carson_final,
    "harrisburg_cnn": harrisburg_cnn,
    "covientist_cnn": covientist_cnn,
    "karcevski_simple": partial(karcevski, name="karcevski_simple", filters=(32, 64), width=128),
    "karcevski_complex": partial(karcevski, name="karcevski_complex", filters=(32, 64, 128, 128), width=128),
    "karcevski_augmented": partial(
        karcevski, name="karcevski_augmented", filters=(32, 64, 128, 128), width=128, dropout=0.5
    ),
}
"""Network builders by architecture name."""
