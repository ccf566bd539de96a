"""Checkpoints of a training: one folder an epoch, which comes into being whole or not at all.

Keras writes the weights with the optimiser's state (`save_weights`). Its own callback for this, BackupAndRestore, keeps
neither the best weights nor what early stopping and the learning curves know, and overwrites its files in place: a
training killed in that instant could not go on.
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
    """The checkpoint cannot be resumed from; the message says why in words."""


@dataclass(slots=True)
class State:
    """Where a training stands after an epoch, beside the weights."""

    history: list[dict[str, float]] = field(default_factory=list)
    """Figures of each epoch that was run."""
    rates: list[float] = field(default_factory=list)
    """Training images a second in each epoch."""
    seconds: float = 0.0
    """Spent so far, by all processes that worked on it."""
    best: float | None = None
    best_epoch: int = 0
    """From 0."""
    wait: int = 0
    """Epochs since the best one."""
    stopped: bool = False
    """No further epoch is to be run."""
    plateau_best: float | None = None
    """The watched loss that the learning rate last had no reason to fall at."""
    plateau_wait: int = 0
    """Epochs since."""


def save(folder: Path, key: str, trainer: keras.Model, state: State, best_weights: Weights) -> None:
    """Write the newest checkpoint and remove the one before.

    Args:
        folder: of this training alone; made where it is missing.
        key: names the training: a checkpoint of another one is not resumed from.
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
        shutil.rmtree(target, ignore_errors=True)  # a damaged one of an earlier attempt
    for other in folder.glob("epoch-*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)


def epochs_in(folder: Path, key: str) -> int:
    """Number of epochs that the newest checkpoint holds, 0 where there is none or it is another training's.

    Args:
        folder: given to `save`.
        key: given to `save`.
    """
    newest = _newest(folder)
    try:
        told = json.loads((newest / STATE).read_text()) if newest else {}
        return len(told["state"]["history"]) if told.get("key") == key else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # `load` says what is wrong with it


def load(folder: Path, key: str, trainer: keras.Model) -> tuple[State, Weights] | None:
    """Bring a trainer to where the newest checkpoint stood; None where there is none.

    Args:
        folder: given to `save`.
        key: given to `save`.
        trainer: compiled, of the same form as the saved one.

    Returns:
        The state and the best weights.

    Raises:
        DamagedCheckpointError: there is one that cannot be used; the trainer may hold part of it.
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
    except (OSError, ValueError, KeyError, TypeError) as error:  # also what Keras raises at weights of another form
        raise DamagedCheckpointError(f"it cannot be read ({type(error).__name__})") from error


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("epoch-*"), default=None)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every file system has hard links
        shutil.copyfile(source, target)
