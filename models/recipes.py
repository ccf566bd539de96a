"""Recipes: architecture, preprocessing, augmentation, optimiser, schedule and stopping under one name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

from models.preprocessing import PreprocessingSpec

FORM: Final = 1
"""Raised when the same recipe, data and seed would learn otherwise than before."""
SPLITS: Final = ("train", "validation", "test")
"""What each image is for; their positions are the codes in arrays."""


class RecipeError(ValueError):
    """There is no such recipe; the message lists the known ones."""


def _strict(kind: type, values: dict[str, Any]) -> None:
    """Raise ValueError where names are unknown or missing: a default would hide what was really trained."""
    expected = {one.name for one in fields(kind)}
    if set(values) != expected:
        raise ValueError(f"{kind.__name__.lower()} differs from this code's in {sorted(set(values) ^ expected)}")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far a training image may differ from the file; never applied when scoring.

    There is no horizontal flip: the side of the heart is anatomy. The shares are of the image's size, of a full turn,
    and of the grey range.
    """

    share: float = 0.7
    """Of the images that are moved, turned and zoomed at all."""
    translation: float = 0.04
    rotation: float = 0.015
    zoom: float = 0.06
    brightness: float = 0.08
    whole_pixels: bool = False
    """Move by whole pixels: without turns and zooms the image's finest texture then stays as it is."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if not 0 <= getattr(self, one.name) <= 1:
                raise ValueError(f"augmentation: {one.name} must lie within 0 and 1, not {getattr(self, one.name)}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back `dataclasses.asdict`'s values; ValueError where names are unknown or missing."""
        _strict(cls, values)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what is learned from given data; stored with the model version."""

    name: str
    architecture: str
    """A name in `models.architectures.ARCHITECTURES`."""
    preprocessing: PreprocessingSpec = field(default_factory=PreprocessingSpec)
    augmentation: Augmentation = field(default_factory=Augmentation)
    epochs: int = 6
    batch_size: int = 16
    learning_rate: float = 1e-3
    """Peak of the schedule: it falls along a cosine to nearly nothing over the epochs (Loshchilov & Hutter, 2017)."""
    weight_decay: float = 1e-4
    """Of AdamW (Loshchilov & Hutter, 2019); biases and normalisation are left alone."""
    class_weights: bool = True
    """Each class weighs alike in the training loss, however many images it has."""
    patience: int = 4
    """Epochs without a better validation loss after which training stops."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"recipe {self.name}: {name} must be above 0, not {getattr(self, name)}")
        if self.weight_decay < 0:
            raise ValueError(f"recipe {self.name}: weight_decay must not be below 0, not {self.weight_decay}")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `to_dict` wrote; an unknown or missing name raises ValueError, never a silent default."""
        _strict(cls, values)
        return cls(
            **values
            | {
                "preprocessing": PreprocessingSpec.from_dict(values["preprocessing"]),
                "augmentation": Augmentation.from_dict(values["augmentation"]),
            }
        )


RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="compact-cnn", architecture="compact_cnn"),
        # Small sets of real radiographs: texture is counted by fixed filters, so little is left to learn. No image is
        # resampled, which would destroy the patterns. docs/crossvalidation.md says what it reaches.
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
        # For trying things out: a few hundred images take a minute on two cores.
        Recipe(
            name="compact-cnn-small",
            architecture="compact_cnn",
            preprocessing=PreprocessingSpec(height=96, width=96),
            epochs=12,
            batch_size=8,
            learning_rate=2e-3,
            patience=6,
        ),
    )
}
DEFAULT: Final = "local-patterns"
"""The recipe where none is named."""


def recipe_named(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        RecipeError: there is none of that name.
    """
    if name not in RECIPES:
        raise RecipeError(f"no recipe is called {name!r} (see CXR_RECIPES); known: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]
