"""Fit a recipe's network: built, wrapped, resumed from a checkpoint where there is one, trained, unwrapped."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from models import architectures, checkpoint, devices, engines
from models.augmentation import with_augmentation
from models.batches import ANSWERED_AT_ONCE, Batches, class_weights
from models.progress import Stopping, Watch, out_of_time
from models.recipes import FORM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from models.recipes import Recipe

FINAL_SHARE: Final = 0.02
"""Of the learning rate, at the cosine's end."""
UNDECAYED: Final = ("bias", "beta", "gamma")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted network."""

    model: keras.Model
    """float32, without augmentation, with the weights of the best epoch."""
    state: checkpoint.State
    watched: str
    """The figure that decided which epoch was best."""
    precision: str
    """The Keras dtype policy that it was trained under."""
    resumed: int
    """Epochs that a checkpoint spared."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Assembled:
    model: keras.Model
    network: keras.Model
    """The model, or its copy under mixed precision."""
    trainer: keras.Model
    """The network behind its augmentation, compiled."""


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
) -> Fitted:
    """Fit on the rows "train", stop by the rows "validation"; no other row is read. See `models.training.train`.

    Raises:
        Diverged: the loss is no number any more.
    """
    gpus = devices.gpus()
    precision = gpus[0].policy if gpus else "float32"
    train, validation = rows["train"], rows["validation"]
    weights = class_weights(labels[train], classes) if recipe.class_weights else None
    batches = Batches(images, labels, train, recipe.batch_size, weights, seed)
    held_out = Batches(images, labels, validation, ANSWERED_AT_ONCE) if len(validation) else None
    steps = epochs * len(batches)
    built = _assemble(recipe, classes, seed, steps, precision)
    key, notes, resumed = _key(recipe, labels, rows, seed, epochs, precision), [], None
    if folder is not None:
        try:
            resumed = checkpoint.load(folder, key, built.trainer)
        except checkpoint.DamagedError as error:
            notes.append(f"the checkpoint could not be used and training began anew: {error}")
            shutil.rmtree(folder)
            built = _assemble(recipe, classes, seed, steps, precision)
    state, best = resumed or (checkpoint.State(), [])
    spared = len(state.history)
    watched = "loss" if held_out is None else "val_loss"
    if not (state.stopped or out_of_time(state, budget_s)):
        stopping = Stopping(watched, recipe.patience, state, best)

        def keep() -> None:
            if folder is not None:
                checkpoint.save(folder, key, built.trainer, state, stopping.best_weights)

        watch = Watch(batches, state, seed, epochs, budget_s, keep, on_epoch)
        built.trainer.fit(
            batches,
            validation_data=held_out,
            initial_epoch=spared,
            epochs=epochs,
            shuffle=False,  # else Keras draws the order of the batches anew, from a state that no checkpoint holds
            callbacks=[stopping, watch],
            verbose=0,
        )
        best = stopping.best_weights
    built.trainer.set_weights(best)
    if built.network is not built.model:
        built.model.set_weights(built.network.get_weights())
    return Fitted(built.model, state, watched, precision, spared, tuple(notes))


def _assemble(recipe: Recipe, classes: int, seed: int, steps: int, precision: str) -> _Assembled:
    keras.utils.set_random_seed(seed)
    model = architectures.build(recipe.architecture, recipe.preprocessing.shape, classes, seed)
    network = model if precision == "float32" else engines.with_policy(model, precision)
    trainer = with_augmentation(network, recipe.augmentation, seed)
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps, alpha=FINAL_SHARE)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
    trainer.compile(optimizer, loss="sparse_categorical_crossentropy", weighted_metrics=[], metrics=["accuracy"])
    return _Assembled(model, network, trainer)


def _key(
    recipe: Recipe, labels: NDArray[np.integer[Any]], rows: Mapping[str, NDArray[np.intp]], seed: int, epochs: int,
    precision: str,
) -> str:  # fmt: skip
    """Name a training: a checkpoint with another name is of no use to it."""
    digest = hashlib.sha256()
    about = [FORM, recipe.to_dict(), seed, epochs, precision, keras.__version__, keras.backend.backend()]
    digest.update(json.dumps(about, sort_keys=True).encode())
    for name in ("train", "validation"):
        digest.update(np.ascontiguousarray(rows[name], np.int64).tobytes())
        digest.update(np.ascontiguousarray(labels[rows[name]], np.int64).tobytes())
    return digest.hexdigest()
