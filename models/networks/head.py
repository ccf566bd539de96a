"""How every network ends: scores, a temperature that calibration sets, and probabilities."""

from __future__ import annotations

from typing import Final

import keras
from keras import layers

TWO: Final = 2


def head(x: keras.KerasTensor, classes: int, seed: int) -> keras.KerasTensor:
    """Class probabilities of features (n, features), after a temperature that calibration sets.

    Args:
        x: the features.
        classes: how many probabilities come out.
        seed: of the initial weights.
    """
    initial = keras.initializers.GlorotUniform(seed=seed)
    return calibrated(layers.Dense(classes, kernel_initializer=initial, name="logits")(x))


def one_unit_head(x: keras.KerasTensor, classes: int, seed: int) -> keras.KerasTensor:
    """Class probabilities of two classes from a single unit, as a sigmoid gives them; of more classes as `head` does.

    The unit's value z becomes the scores -z/2 and z/2, whose softmax is sigmoid(-z) and sigmoid(z): no parameter is
    added, both classes have a gradient, and the temperature works as in every other network.

    Args:
        x: the features (n, features).
        classes: how many probabilities come out.
        seed: of the initial weights.
    """
    if classes != TWO:
        return head(x, classes, seed)
    unit = layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed=seed), name="unit")(x)
    first, second = (layers.Rescaling(sign / 2, name=name)(unit) for sign, name in ((-1, "first"), (1, "second")))
    return calibrated(layers.Concatenate(name="logits")([first, second]))


def calibrated(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Probabilities of scores (n, classes).

    float32 whatever the policy of the rest: half-precision probabilities do not sum to one.
    """
    x = layers.Rescaling(1.0, name="temperature", dtype="float32")(logits)
    return layers.Activation("softmax", dtype="float32", name="probabilities")(x)
