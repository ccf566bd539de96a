"""Recipes: architecture, preprocessing, augmentation and optimiser under one name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from models.preprocessing import PreprocessingSpec


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
    """Peak of the schedule: it falls along a cosine to nearly nothing over the epochs."""
    weight_decay: float = 1e-4
    patience: int = 4
    """Epochs without a better validation loss after which training stops."""

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-ready values."""
        return asdict(self)


RECIPES: Final = {recipe.name: recipe for recipe in (Recipe(name="compact-cnn", architecture="compact_cnn"),)}
