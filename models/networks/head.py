"""The head that every network ends in: logits, a temperature that calibration sets, and probabilities."""

from __future__ import annotations

from typing import Final

import keras
from keras import layers

BINARY: Final = 2


def classification_head(x: keras.KerasTensor, classes: int, seed: int) -> keras.KerasTensor:
    """Class probabilities (n, classes) from features (n, features): a dense layer, the temperature and softmax.

    Args:
        x: the features.
        classes: number of classes.
        seed: of the initial weights.
    """
    initial = keras.initializers.GlorotUniform(seed=seed)
    return calibrated_probabilities(layers.Dense(classes, kernel_initializer=initial, name="logits")(x))


def single_unit_head(x: keras.KerasTensor, classes: int, seed: int) -> keras.KerasTensor:
    """Class probabilities (n, classes) from one sigmoid unit for two classes, otherwise as from `classification_head`.

    The unit's value z becomes the logits -z/2 and z/2, whose softmax is sigmoid(-z) and sigmoid(z). This adds no
    parameter, gives both classes a gradient, and lets the temperature work as in every other network.

    Args:
        x: the features (n, features).
        classes: number of classes.
        seed: of the initial weights.
    """
    if classes != BINARY:
        return classification_head(x, classes, seed)
    unit = layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed=seed), name="unit")(x)
    first, second = (layers.Rescaling(sign / 2, name=name)(unit) for sign, name in ((-1, "first"), (1, "second")))
    return calibrated_probabilities(layers.Concatenate(name="logits")([first, second]))


def calibrated_probabilities(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Turn logits (n, classes) into probabilities, through the temperature.

    Always in float32, whatever the network's dtype policy: half-precision probabilities do not sum to one.
    """
    x = layers.Rescaling(1.0, name="temperature", dtype="float32")(logits)
    return layers.Activation("softmax", dtype="float32", name="probabilities")(x)
