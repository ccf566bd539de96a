"""Fitting: builds a recipe's network, resumes from a checkpoint if there is one, and trains it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from models.networks import architectures
from models.networks.backbones import freeze
from models.networks.pretrained import load
from models.recipes.recipe import TRAINING_VERSION
from models.serving import devices, engines
from models.training import checkpoint
from models.training.augmentation import with_augmentation
from models.training.batches import ANSWERED_AT_ONCE, Batches, class_weights
from models.training.callbacks import EpochBookkeeper, Falling, Stopping, out_of_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from models.recipes.recipe import Recipe

FINAL_SHARE: Final = 0.02
"""Share of the learning rate that is left at the end of the cosine schedule."""
UNDECAYED: Final = ("bias", "beta", "gamma")
"""Variables that weight decay leaves alone."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted network."""

    model: keras.Model
    """float32, without augmentation, with the weights of the best epoch."""
    state: checkpoint.State
    watched: str
    """Name of the figure that decides which epoch is best: val_loss, or loss where nothing validates."""
    precision: str
    """Keras's dtype policy during training."""
    resumed: int
    """Epochs that came from a checkpoint."""
    notes: tuple[str, ...]
    read: dict[str, str]
    """File and checksum of the pretrained weights that it began with; empty if it began with random ones."""
    trainable: int
    """Parameters that were trained, in the last stage."""


@dataclass(frozen=True, slots=True)
class _Assembled:
    model: keras.Model
    network: keras.Model
    """The model, or its copy under mixed precision."""
    trainer: keras.Model
    """The network wrapped in its augmentation."""
    read: dict[str, str]
    """See `models.networks.pretrained.load`; empty if no file was read."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive epochs with the same frozen layers and one schedule of the learning rate."""

    first: int
    end: int
    """The epoch after the last one."""
    backbone: float | None
    """See `models.recipes.recipe.Stage`; None: nothing is frozen."""
    learning_rate: float


def fit(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    rows: Mapping[str, NDArray[np.intp]],
    classes: int,
    *,
    seed: int,
    epochs: int,
    budget_s: float | None,
    folder: Path | None,
    on_epoch: Callable[[int, dict[str, float]], None] | None,
    pretrained: Path | None = None,
) -> Fitted:
    """Fit on the rows "train" and stop by the rows "validation"; no other row is read. See `models.training.train`.

    Raises:
        Diverged: the loss is not finite.
        PretrainedError: the recipe begins with pretrained weights, and they are not available.
    """
    gpus = devices.available_gpus()
    precision = gpus[0].dtype_policy if gpus else "float32"
    train, validation = rows["train"], rows["validation"]
    weights = class_weights(labels[train], classes) if recipe.class_weights else None
    batches = Batches(images, labels, train, recipe.batch_size, weights, seed)
    held_out = Batches(images, labels, validation, ANSWERED_AT_ONCE) if len(validation) else None
    stages = stretches(recipe, epochs)
    key, notes, resumed = _key(recipe, labels, rows, seed, epochs, precision), [], None
    done = checkpoint.epochs_in(folder, key) if folder is not None else 0
    stage = next(one for one in stages if done <= one.end)  # of the newest epoch that was run
    built = _assemble(recipe, classes, seed, precision, pretrained)
    _compile(built, recipe, stage, len(batches))
    if folder is not None:
        try:
            resumed = checkpoint.load(folder, key, built.trainer)
        except checkpoint.DamagedCheckpointError as error:
            notes.append(f"the checkpoint could not be used and training began anew: {error}")
            shutil.rmtree(folder)
            stage = stages[0]
            built = _assemble(recipe, classes, seed, precision, pretrained)
            _compile(built, recipe, stage, len(batches))
    state, best = resumed or (checkpoint.State(), [])
    spared = len(state.history)
    watched = "loss" if held_out is None else "val_loss"
    while not (state.stopped or out_of_time(state, budget_s)):
        if len(state.history) == stage.end:
            stage = stages[stages.index(stage) + 1]
            built.trainer.set_weights(best)
            _compile(built, recipe, stage, len(batches))
            state.wait, state.plateau_best, state.plateau_wait = 0, None, 0
        stopping = Stopping(watched, recipe.patience, state, best)

        def keep(stopping: Stopping = stopping) -> None:
            if folder is not None:
                checkpoint.save(folder, key, built.trainer, state, stopping.best_weights)

        falling = [Falling(watched, recipe.plateau, state)] if recipe.schedule == "plateau" else []
        bookkeeper = EpochBookkeeper(batches, state, seed, epochs, budget_s, keep, on_epoch)
        built.trainer.fit(
            batches,
            validation_data=held_out,
            initial_epoch=len(state.history),
            epochs=stage.end,
            shuffle=False,  # Keras would shuffle the batches by a state that no checkpoint holds
            callbacks=[stopping, *falling, bookkeeper],
            verbose=0,
        )
        best = stopping.best_weights
    built.trainer.set_weights(best)
    if built.network is not built.model:
        built.model.set_weights(built.network.get_weights())
    trainable = sum(int(np.prod(variable.shape)) for variable in built.trainer.trainable_variables)
    return Fitted(built.model, state, watched, precision, spared, tuple(notes), built.read, trainable)


def stretches(recipe: Recipe, epochs: int) -> list[Stretch]:
    """Spread the recipe's stages over a number of epochs; a stage that would get none is left out."""
    if not recipe.stages:
        return [Stretch(0, epochs, None, recipe.learning_rate)]
    begins = [stage.epoch * epochs // recipe.epochs for stage in recipe.stages] + [epochs]
    return [
        Stretch(first, end, stage.backbone, stage.learning_rate)
        for stage, first, end in zip(recipe.stages, begins, begins[1:], strict=False)
        if first < end
    ]


def _assemble(recipe: Recipe, classes: int, seed: int, precision: str, pretrained: Path | None) -> _Assembled:
    keras.utils.set_random_seed(seed)
    model = architectures.build(recipe.architecture, recipe.preprocessing.shape, classes, seed)
    read = load(model, recipe.architecture, pretrained) if recipe.weights == "imagenet" else {}
    network = model if precision == "float32" else engines.with_policy(model, precision)
    return _Assembled(model, network, with_augmentation(network, recipe.augmentation, seed), read)


def _compile(built: _Assembled, recipe: Recipe, stage: Stretch, steps: int) -> None:
    """Freeze the layers that the stage freezes, and start with a fresh optimiser."""
    if stage.backbone is not None:
        freeze(built.network, stage.backbone)
    rate: Any = stage.learning_rate
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps * (stage.end - stage.first), alpha=FINAL_SHARE)
    match recipe.optimizer:
        case "adamw":
            optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
            optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
        case "adam":
            optimizer = keras.optimizers.Adam(rate)
        case "adamax":
            optimizer = keras.optimizers.Adamax(rate)
        case "sgd":
            optimizer = keras.optimizers.SGD(rate)
    built.trainer.compile(optimizer, loss="sparse_categorical_crossentropy", weighted_metrics=[], metrics=["accuracy"])
    # If the first step had to create these variables, TensorFlow would trace it twice, which takes twice as long.
    built.trainer.optimizer.build(built.trainer.trainable_variables)


def _key(
    recipe: Recipe, labels: NDArray[np.integer[Any]], rows: Mapping[str, NDArray[np.intp]], seed: int, epochs: int,
    precision: str,
) -> str:  # fmt: skip
    """Return a hash of all that a training depends on: it cannot resume from a checkpoint with another one."""
    digest = hashlib.sha256()
    about = [TRAINING_VERSION, recipe.to_dict(), seed, epochs, precision, keras.__version__, keras.backend.backend()]
    digest.update(json.dumps(about, sort_keys=True).encode())
    for name in ("train", "validation"):
        digest.update(np.ascontiguousarray(rows[name], np.int64).tobytes())
        digest.update(np.ascontiguousarray(labels[rows[name]], np.int64).tobytes())
    return digest.hexdigest()
