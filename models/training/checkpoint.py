"""Checkpoints of a training: a folder for the newest epoch, which is there whole or not at all.

Keras writes the weights and the optimiser's state (`save_weights`). Its own callback, BackupAndRestore, is not enough:
it stores neither the best weights nor the learning curves nor the state of early stopping, and it overwrites its files
in place, so that a training killed in that moment could not resume.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.files import atomic_folder, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    Weights = list[NDArray[Any]]

TRAINER: Final = "trainer.weights.h5"
BEST: Final = "best.npz"
STATE: Final = "state.json"


class DamagedCheckpointError(RuntimeError):
    """A training cannot resume from the checkpoint; the message says why in words."""


@dataclass(slots=True)
class State:
    """State of a training after an epoch, without its weights."""

    history: list[dict[str, float]] = field(default_factory=list)
    """Figures of each epoch so far."""
    rates: list[float] = field(default_factory=list)
    """Training images per second, in each epoch."""
    seconds: float = 0.0
    """Spent so far, by all processes that worked on this training."""
    best: float | None = None
    """Lowest watched loss."""
    best_epoch: int = 0
    """From 0."""
    wait: int = 0
    """Epochs since the best one."""
    stopped: bool = False
    """The training is over: no further epoch runs."""
    plateau_best: float | None = None
    """Lowest watched loss as the plateau schedule counts it."""
    plateau_wait: int = 0
    """Epochs since that loss, as the plateau schedule counts them."""


def save(folder: Path, key: str, trainer: keras.Model, state: State, best_weights: Weights) -> None:
    """Write the checkpoint of the newest epoch and remove the one before.

    Args:
        folder: of this training alone; made where it is missing.
        key: of the training: only a training with the same key resumes from it.
        trainer: compiled.
        state: after its newest epoch.
        best_weights: of the trainer, after `state.best_epoch`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = _newest(folder)
    target = folder / f"epoch-{len(state.history):04d}"
    with atomic_folder(target) as unfinished:
        trainer.save_weights(unfinished / TRAINER)
        if before and state.best_epoch < len(state.history) - 1:
            _link(before / BEST, unfinished / BEST)
        else:
            np.savez(unfinished / BEST, *best_weights)
        checksums = {name: sha256_of(unfinished / name) for name in (TRAINER, BEST)}
        (unfinished / STATE).write_text(json.dumps({"key": key, "state": asdict(state), "sha256": checksums}))
        shutil.rmtree(target, ignore_errors=True)  # left damaged by an earlier attempt
    for other in folder.glob("epoch-*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)


def epochs_in(folder: Path, key: str) -> int:
    """Return how many epochs the newest checkpoint holds; 0 if there is none or its key is another.

    Args:
        folder: given to `save`.
        key: given to `save`.
    """
    newest = _newest(folder)
    try:
        told = json.loads((newest / STATE).read_text()) if newest else {}
        return len(told["state"]["history"]) if told.get("key") == key else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # `load` will say what is wrong with it


def load(folder: Path, key: str, trainer: keras.Model) -> tuple[State, Weights] | None:
    """Restore a trainer from the newest checkpoint; return None if there is none.

    Args:
        folder: given to `save`.
        key: given to `save`.
        trainer: compiled, with the same layers as the saved one.

    Returns:
        The state and the best weights.

    Raises:
        DamagedCheckpointError: the checkpoint cannot be used; the trainer may hold part of it.
    """
    newest = _newest(folder)
    if newest is None:
        return None
    try:
        told = json.loads((newest / STATE).read_text())
        if told["key"] != key:
            raise DamagedCheckpointError("it belongs to another training")
        for name, expected in told["sha256"].items():
            if sha256_of(newest / name) != expected:
                raise DamagedCheckpointError(f"{name} is not as it was written")
        trainer.optimizer.build(trainer.trainable_variables)
        trainer.load_weights(newest / TRAINER)
        with np.load(newest / BEST, allow_pickle=False) as arrays:
            best = [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
        return State(**told["state"]), best
    except (OSError, ValueError, KeyError, TypeError) as error:  # Keras raises these for weights of another shape, too
        raise DamagedCheckpointError(f"it cannot be read ({type(error).__name__})") from error


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("epoch-*"), default=None)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every file system has hard links
        shutil.copyfile(source, target)
