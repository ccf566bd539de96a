"""A recipe: architecture, preprocessing, augmentation, optimiser, schedule, stages and stopping under one name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal, Self, get_args

from models.radiographs.preprocessing import PreprocessingSpec

TRAINING_VERSION: Final = 1
"""Increased whenever the same recipe, data and seed would give another model than before."""

Optimizer = Literal["adamw", "adam", "adamax", "sgd"]
Schedule = Literal["cosine", "constant", "plateau"]
Weights = Literal["none", "imagenet"]
View = Literal["PA", "AP"]


def _require_exact_names(kind: type, values: dict[str, Any]) -> None:
    """Raise ValueError if names are unknown or missing: a default would hide what was really trained."""
    expected = {one.name for one in fields(kind)}
    if set(values) != expected:
        raise ValueError(f"{kind.__name__.lower()} differs from this code's in {sorted(set(values) ^ expected)}")


class _Part:
    """Base of the parts of a recipe."""

    __slots__ = ()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read the values of `dataclasses.asdict`; raises ValueError if names are unknown or missing."""
        _require_exact_names(cls, values)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Augmentation(_Part):
    """Random changes to training images, never applied in scoring.

    There is no horizontal flip: the side of the heart is anatomy. Translation and zoom are shares of the image's size,
    rotation is a share of a full turn, brightness is a share of the grey range.
    """

    share: float = 0.7
    """Share of the images that are shifted, rotated, sheared and zoomed at all."""
    translation: float = 0.04
    rotation: float = 0.015
    zoom: float = 0.06
    brightness: float = 0.08
    whole_pixels: bool = False
    """Shift by whole pixels, which preserves the finest texture if images are neither rotated nor zoomed."""
    shear: float = 0.0
    """Maximum sideways shift of a row, as a share of its distance from the image's middle row."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if not 0 <= getattr(self, one.name) <= 1:
                raise ValueError(f"augmentation: {one.name} must be between 0 and 1, not {getattr(self, one.name)}")


@dataclass(frozen=True, slots=True)
class Plateau(_Part):
    """How the learning rate falls when the monitored loss stops falling."""

    factor: float = 0.1
    """The rate is multiplied by this."""
    patience: int = 5
    """Epochs without a better loss before that."""
    lowest: float = 1e-5
    """Lower limit of the rate."""

    def __post_init__(self) -> None:
        if not (0 < self.factor < 1 and self.patience > 0 and self.lowest >= 0):
            raise ValueError(
                f"plateau: factor must be between 0 and 1, patience above 0 and lowest not below 0, not {self}"
            )


@dataclass(frozen=True, slots=True)
class Stage(_Part):
    """How much of the backbone is trained from an epoch on; the layers after the backbone are always trained.

    Each stage begins with a fresh optimiser at the start of its schedule.
    """

    epoch: int
    """The stage's first epoch, from 0. If fewer epochs are run than the recipe has, it begins earlier in proportion."""
    backbone: float
    """Trained share of the backbone's layers with weights, counted from its end: 0 trains none, 1 trains all."""
    learning_rate: float

    def __post_init__(self) -> None:
        if not (self.epoch >= 0 and 0 <= self.backbone <= 1 and self.learning_rate > 0):
            raise ValueError(
                f"stage: epoch must not be below 0, backbone must be between 0 and 1 and learning_rate above 0, not "
                f"{self}"
            )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that determines what is learned from given data; stored with the model version."""

    name: str
    architecture: str
    """A name in `models.networks.architectures.ARCHITECTURES`."""
    preprocessing: PreprocessingSpec = field(default_factory=PreprocessingSpec)
    augmentation: Augmentation = field(default_factory=Augmentation)
    epochs: int = 6
    batch_size: int = 16
    learning_rate: float = 1e-3
    """Initial rate of the schedule; each stage has its own instead."""
    weight_decay: float = 1e-4
    """For AdamW only; not applied to biases and normalisation."""
    class_weights: bool = True
    """Give each class the same weight in the training loss, however many images it has."""
    patience: int = 4
    """Training stops after this many epochs without a better validation loss."""
    optimizer: Optimizer = "adamw"
    """adamw: Loshchilov & Hutter, 2019; adam and adamax: Kingma & Ba, 2015; sgd: without momentum."""
    schedule: Schedule = "cosine"
    """cosine: falls to nearly 0 over the epochs (Loshchilov & Hutter, 2017); plateau: see `Plateau`."""
    plateau: Plateau = field(default_factory=Plateau)
    """Used by the plateau schedule only."""
    weights: Weights = "none"
    """The backbone's initial weights; none: random."""
    stages: tuple[Stage, ...] = ()
    """Freezing and unfreezing of the backbone; empty: everything is trained in all epochs."""
    views: tuple[View, ...] = ()
    """Views to learn from; empty: all. Images of unknown view are always used."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"recipe {self.name}: {name} must be above 0, not {getattr(self, name)}")
        for name, known in (("optimizer", Optimizer), ("schedule", Schedule), ("weights", Weights)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(
                    f"recipe {self.name}: {name} must be one of {get_args(known)}, not {getattr(self, name)!r}"
                )
        if unknown := set(self.views) - set(get_args(View)):
            raise ValueError(f"recipe {self.name}: views must be among {get_args(View)}, not {sorted(unknown)}")
        if self.weight_decay < 0 or (self.weight_decay and self.optimizer != "adamw"):
            raise ValueError(
                f"recipe {self.name}: weight_decay must not be below 0, and 0 for optimisers other than adamw, not "
                f"{self.weight_decay} for {self.optimizer}"
            )
        starts = [stage.epoch for stage in self.stages]
        if starts and (starts[0] or starts != sorted(set(starts)) or starts[-1] >= self.epochs):
            raise ValueError(
                f"recipe {self.name}: the first stage must start at epoch 0 and the others in increasing epochs below "
                f"{self.epochs}, not at {starts}"
            )
        if self.stages and self.weights == "none":
            raise ValueError(f"recipe {self.name}: stages need pretrained weights, but weights is none")

    def from_scratch(self) -> Self:
        """Return the recipe's form without pretrained weights: nothing is frozen, with its last stage's rate."""
        if self.weights == "none":
            return self
        rate = self.stages[-1].learning_rate if self.stages else self.learning_rate
        return replace(self, weights="none", stages=(), learning_rate=rate)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready values."""
        return asdict(self) | {"stages": [asdict(stage) for stage in self.stages], "views": list(self.views)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read the values of `to_dict`; raises ValueError if names are unknown or missing, never uses a default."""
        _require_exact_names(cls, values)
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
