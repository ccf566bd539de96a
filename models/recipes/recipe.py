"""A recipe: architecture, preprocessing, augmentation, optimiser, schedule, stages and stopping under one name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal, Self, get_args

from models.radiographs.preprocessing import PreprocessingSpec

FORM: Final = 1
"""Raised when the same recipe, data and seed would learn otherwise than before."""

Optimizer = Literal["adamw", "adam", "adamax", "sgd"]
Schedule = Literal["cosine", "constant", "plateau"]
Weights = Literal["none", "imagenet"]
View = Literal["PA", "AP"]


def _strict(kind: type, values: dict[str, Any]) -> None:
    """Raise ValueError where names are unknown or missing: a default would hide what was really trained."""
    expected = {one.name for one in fields(kind)}
    if set(values) != expected:
        raise ValueError(f"{kind.__name__.lower()} differs from this code's in {sorted(set(values) ^ expected)}")


class _Values:
    """What the parts of a recipe have in common."""

    __slots__ = ()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back `dataclasses.asdict`'s values; ValueError where names are unknown or missing."""
        _strict(cls, values)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Augmentation(_Values):
    """How far a training image may differ from the file; never applied when scoring.

    There is no horizontal flip: the side of the heart is anatomy. The shares are of the image's size, of a full turn,
    and of the grey range.
    """

    share: float = 0.7
    """Of the images that are moved, turned, sheared and zoomed at all."""
    translation: float = 0.04
    rotation: float = 0.015
    zoom: float = 0.06
    brightness: float = 0.08
    whole_pixels: bool = False
    """Move by whole pixels: without turns and zooms the image's finest texture then stays as it is."""
    shear: float = 0.0
    """How far a row is moved sideways at most, as a share of its distance from the image's middle row."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if not 0 <= getattr(self, one.name) <= 1:
                raise ValueError(f"augmentation: {one.name} must lie within 0 and 1, not {getattr(self, one.name)}")


@dataclass(frozen=True, slots=True)
class Plateau(_Values):
    """How the learning rate falls where the watched loss no longer does."""

    factor: float = 0.1
    """What the rate is multiplied with."""
    patience: int = 5
    """Epochs without a better loss before it is."""
    lowest: float = 1e-5
    """The rate never falls below."""

    def __post_init__(self) -> None:
        if not (0 < self.factor < 1 and self.patience > 0 and self.lowest >= 0):
            raise ValueError(f"plateau: a factor within 0 and 1, a patience above 0, a rate not below 0, not {self}")


@dataclass(frozen=True, slots=True)
class Stage(_Values):
    """From when on how much of the backbone is trained; what comes behind the backbone always is.

    Each stage begins with a fresh optimiser at the beginning of its schedule.
    """

    epoch: int
    """The stage's first one, from 0. Where fewer epochs are run than the recipe's, it begins earlier in proportion."""
    backbone: float
    """Share of the backbone's layers with weights that is trained, counted from its end: 0 is frozen, 1 is all."""
    learning_rate: float

    def __post_init__(self) -> None:
        if not (self.epoch >= 0 and 0 <= self.backbone <= 1 and self.learning_rate > 0):
            raise ValueError(f"stage: an epoch not below 0, a share within 0 and 1, a rate above 0, not {self}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what is learned from given data; stored with the model version."""

    name: str
    architecture: str
    """A name in `models.networks.architectures.ARCHITECTURES`."""
    preprocessing: PreprocessingSpec = field(default_factory=PreprocessingSpec)
    augmentation: Augmentation = field(default_factory=Augmentation)
    epochs: int = 6
    batch_size: int = 16
    learning_rate: float = 1e-3
    """Where the schedule begins; a stage has its own instead."""
    weight_decay: float = 1e-4
    """Of AdamW alone; biases and normalisation are left alone."""
    class_weights: bool = True
    """Each class weighs alike in the training loss, however many images it has."""
    patience: int = 4
    """Epochs without a better validation loss after which training stops."""
    optimizer: Optimizer = "adamw"
    """adamw: Loshchilov & Hutter, 2019; adam and adamax: Kingma & Ba, 2015; sgd: without momentum."""
    schedule: Schedule = "cosine"
    """cosine: falls to nearly nothing over the epochs (Loshchilov & Hutter, 2017); plateau: see `Plateau`."""
    plateau: Plateau = field(default_factory=Plateau)
    """Of the schedule of that name."""
    weights: Weights = "none"
    """What the backbone begins with; none: random ones."""
    stages: tuple[Stage, ...] = ()
    """Freezing and unfreezing of the backbone; empty: all is trained all the time."""
    views: tuple[View, ...] = ()
    """Images known to be another view are not learned from; empty: all are. Views that nobody knows stay."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"recipe {self.name}: {name} must be above 0, not {getattr(self, name)}")
        for name, known in (("optimizer", Optimizer), ("schedule", Schedule), ("weights", Weights)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(f"recipe {self.name}: {name} is one of {get_args(known)}, not {getattr(self, name)!r}")
        if unknown := set(self.views) - set(get_args(View)):
            raise ValueError(f"recipe {self.name}: views are {get_args(View)}, not {sorted(unknown)}")
        if self.weight_decay < 0 or (self.weight_decay and self.optimizer != "adamw"):
            raise ValueError(
                f"recipe {self.name}: weight_decay is AdamW's and must not be below 0, not {self.weight_decay} of "
                f"{self.optimizer}"
            )
        first = [stage.epoch for stage in self.stages]
        if first and (first[0] or first != sorted(set(first)) or first[-1] >= self.epochs):
            raise ValueError(f"recipe {self.name}: stages begin at epoch 0, one after the other, not at {first}")
        if self.stages and self.weights == "none":
            raise ValueError(f"recipe {self.name}: stages keep what a backbone has learned, and this one begins anew")

    def from_scratch(self) -> Self:
        """Return the recipe as it is trained without learned weights: nothing is frozen, at its last stage's rate."""
        if self.weights == "none":
            return self
        rate = self.stages[-1].learning_rate if self.stages else self.learning_rate
        return replace(self, weights="none", stages=(), learning_rate=rate)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-ready values."""
        return asdict(self) | {"stages": [asdict(stage) for stage in self.stages], "views": list(self.views)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back what `to_dict` wrote; an unknown or missing name raises ValueError, never a silent default."""
        _strict(cls, values)
        return cls(
            **values
            | {
                "preprocessing": PreprocessingSpec.from_dict(values["preprocessing"]),
                "augmentation": Augmentation.from_dict(values["augmentation"]),
                "plateau": Plateau.from_dict(values["plateau"]),
                "stages": tuple(map(Stage.from_dict, values["stages"])),
                "views": tuple(values["views"]),
            }
        )
