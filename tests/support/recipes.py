"""Recipes that learn within a few steps: what flows do with a training does not depend on the network.

Real networks are trained in tests/models, and from the start of a worker's process in tests/tasks/training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.radiographs.preprocessing import PreprocessingSpec
from models.recipes import catalogue
from models.recipes.recipe import Augmentation, Recipe

if TYPE_CHECKING:
    import keras
    import pytest

RECIPE, OTHER = "spots", "more-spots"
EPOCHS = 5


def spots(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """A network that sees where an image is bright: the scores are sums of coarse pixels."""
    from keras import Input, Model, layers

    from models.networks.head import classification_head

    inputs = Input(shape)
    maps = layers.AveragePooling2D(8)(layers.Rescaling(1 / 127.5, offset=-1.0)(inputs))
    return Model(inputs, classification_head(layers.Flatten(name="features")(maps), classes, seed), name="spots")


def known(patch: pytest.MonkeyPatch) -> None:
    """Add these recipes and their network to those that can be trained."""
    from models.networks import architectures

    patch.setitem(architectures.ARCHITECTURES, "spots", spots)
    for name in (RECIPE, OTHER):
        recipe = Recipe(
            name=name, architecture="spots", preprocessing=PreprocessingSpec(height=48, width=48), epochs=EPOCHS,
            batch_size=16, learning_rate=0.02, augmentation=Augmentation(share=0.0),
        )  # fmt: skip
        patch.setitem(catalogue.RECIPES, name, recipe)
