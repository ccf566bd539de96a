"""All recipes by name: this project's own, and those of the five student reports."""

from __future__ import annotations

from typing import Final

from models.radiographs.preprocessing import PreprocessingSpec
from models.recipes.recipe import TRAINING_VERSION, Augmentation, Plateau, Recipe, Stage
from models.recipes.student_reports import PUBLISHED_SYSTEMS
from models.vocabulary import SPLITS, Split

__all__ = [
    "DEFAULT_RECIPE", "PARAMETER_COUNTS", "RECIPES", "SPLITS", "TRAINING_VERSION", "Augmentation", "Plateau", "Recipe",
    "RecipeError", "Split", "Stage", "recipe_named",
]  # fmt: skip


class RecipeError(ValueError):
    """No recipe has this name; the message lists the known ones."""


RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="compact-cnn", architecture="compact_cnn"),
        # For small sets of real radiographs: fixed filters count textures, so little is left to learn. Augmentation
        # resamples no image, which would destroy the patterns. docs/crossvalidation.md has its results.
        Recipe(
            name="local-patterns",
            architecture="local_patterns",
            preprocessing=PreprocessingSpec(height=448, width=448),
            augmentation=Augmentation(
                share=1.0, translation=0.03, rotation=0.0, zoom=0.0, brightness=0.0, whole_pixels=True
            ),
            epochs=8,
            batch_size=32,
            learning_rate=7e-4,
            weight_decay=1e-2,
            patience=8,
        ),
        # For trials: a few hundred images take a minute on two cores.
        Recipe(
            name="compact-cnn-small",
            architecture="compact_cnn",
            preprocessing=PreprocessingSpec(height=96, width=96),
            epochs=12,
            batch_size=8,
            learning_rate=2e-3,
            patience=6,
        ),
        *(one.recipe for one in PUBLISHED_SYSTEMS),
    )
}
DEFAULT_RECIPE: Final = "local-patterns"
"""The recipe that is used where none is named."""

PARAMETER_COUNTS: Final = {
    "compact-cnn": 1_130_147,
    "local-patterns": 2_333_673,
    "compact-cnn-small": 1_130_147,
    "coronahack-xception": 20_867_627,
    "coronahack-vgg16": 14_716_227,
    "coronahack-vgg19": 20_025_923,
    "coronahack-resnet101v2": 42_632_707,
    "coronahack-inceptionv3": 21_808_931,
    "coronahack-inceptionresnetv2": 54_341_347,
    "coronahack-efficientnetv2s": 20_335_203,
    "coronahack-efficientnetv2m": 53_154_231,
    "coronahack-cnn": 456_899,
    "carson-simple": 19_269_027,
    "carson-final": 1_448_771,
    "harrisburg-cnn": 18_130_019,
    "harrisburg-vgg19": 20_090_435,
    "covientist-cnn": 13_294_467,
    "covientist-vgg16": 14_716_227,
    "covientist-vgg19": 20_025_923,
    "covientist-resnet18": 11_187_651,
    "covientist-resnet34": 21_303_235,
    "covientist-resnet50": 23_593_859,
    "covientist-resnet101": 42_664_323,
    "covientist-inception": 21_808_931,
    "covientist-efficientnet": 4_053_414,
    "karcevski-simple": 7_392_131,
    "karcevski-complex": 830_595,
    "karcevski-augmented": 830_595,
    "karcevski-resnet50": 23_593_859,
}
"""Parameters of each recipe's network with three classes, so that a list needs no network built."""


def recipe_named(name: str, weights: str = "imagenet") -> Recipe:
    """Return a recipe by its name.

    Args:
        name: of the recipe.
        weights: CXR_PRETRAINED; "none" returns the recipe's form without pretrained weights.

    Raises:
        RecipeError: no recipe has this name.
    """
    if name not in RECIPES:
        raise RecipeError(f"no recipe is called {name!r} (see CXR_RECIPES); known: {', '.join(sorted(RECIPES))}")
    return RECIPES[name].from_scratch() if weights == "none" else RECIPES[name]
