"""Callbacks of a training: early stopping, the learning rate's fall on a plateau, and what each epoch needs."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.recipes.recipe import Plateau
    from models.training.batches import Batches
    from models.training.checkpoint import State, Weights

LOOK_EVERY: Final = 10
"""Batches between two checks of the loss: each check waits for the GPU."""
SEED_STATE: Final = "seed_generator_state"
"""Keras's name for the variables that random layers draw from."""


class TrainingError(RuntimeError):
    """The data is not fit for training, or training failed; the message says what is missing or what happened."""


class Diverged(TrainingError):  # noqa: N818 - reads as what it says
    """The loss is not finite; the message says in which epoch and at which learning rate."""


class OutOfMemory(TrainingError):  # noqa: N818 - as above
    """Memory ran out; the message says what needs less."""


class Stopping(keras.callbacks.EarlyStopping):  # type: ignore[misc] # Keras has no type stubs
    """Early stopping that keeps the best weights and can resume an interrupted training."""

    def __init__(self, monitor: str, patience: int, state: State, best_weights: Weights) -> None:
        super().__init__(monitor=monitor, mode="min", patience=patience, restore_best_weights=True)
        self.state, self.resumed = state, best_weights

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Resume from the state."""
        super().on_train_begin(logs)
        if self.resumed:
            self.best, self.best_epoch, self.wait = self.state.best, self.state.best_epoch, self.state.wait
            self.best_weights = self.resumed

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Judge the epoch and record it in the state."""
        super().on_epoch_end(epoch, logs)
        best: Any = self.best
        self.state.best, self.state.best_epoch, self.state.wait = float(best), int(self.best_epoch), int(self.wait)


class Falling(keras.callbacks.ReduceLROnPlateau):  # type: ignore[misc] # as above
    """Keras's fall of the learning rate on a plateau, which can resume an interrupted training."""

    def __init__(self, monitor: str, plateau: Plateau, state: State) -> None:
        super().__init__(
            monitor=monitor, mode="min", factor=plateau.factor, patience=plateau.patience, min_lr=plateau.lowest
        )
        self.state = state

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Resume from the state. The optimiser's own state holds the rate."""
        super().on_train_begin(logs)
        if self.state.plateau_best is not None:
            self.best, self.wait = self.state.plateau_best, self.state.plateau_wait

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Judge the epoch and record it in the state."""
        super().on_epoch_end(epoch, dict(logs or {}))  # a copy: Keras adds the rate to it
        self.state.plateau_best, self.state.plateau_wait = float(self.best), int(self.wait)


class EpochBookkeeper(keras.callbacks.Callback):  # type: ignore[misc] # as above
    """Seeds each epoch, records its figures, writes its checkpoint, and ends training when time is up.

    It must come after `Stopping`. All that is random in an epoch (order, augmentation, dropout) depends only on the
    seed and the epoch's number, so a resumed training sees what an uninterrupted one would have seen. A loss that is
    not finite raises `Diverged`.
    """

    def __init__(
        self,
        batches: Batches,
        state: State,
        seed: int,
        epochs: int,
        budget_s: float | None,
        keep: Callable[[], None],
        on_epoch: Callable[[int, dict[str, float]], None] | None,
    ) -> None:
        super().__init__()
        self.batches, self.state, self.seed, self.epochs, self.budget = batches, state, seed, epochs, budget_s
        self.keep, self.on_epoch = keep, on_epoch
        self.before = time.monotonic() - state.seconds
        self.began = self.trained = 0.0
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras's
        """Seed what is random in this epoch."""
        self.epoch = epoch
        self.batches.begin(epoch)
        states = [variable for variable in self.model.variables if variable.name == SEED_STATE]
        drawn = np.random.default_rng([self.seed, epoch, 1]).integers(0, 2**31, (len(states), 2))
        for variable, value in zip(states, drawn, strict=True):
            variable.assign(value.astype("uint32"))
        self.began, self.trained = time.monotonic(), 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the loss every few batches."""
        if batch % LOOK_EVERY == 0:
            self._require_numbers(logs or {})

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - as above
        """Note when the epoch's training ends and validation begins."""
        self.trained = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Record the figures, decide whether another epoch runs, write the checkpoint, and report."""
        figures = {name: float(value) for name, value in (logs or {}).items()}
        self._require_numbers(figures)
        now = time.monotonic()
        state = self.state
        state.history.append(figures)
        state.rates.append(len(self.batches.every) / max((self.trained or now) - self.began, 1e-9))
        state.seconds = now - self.before
        state.stopped = bool(self.model.stop_training) or epoch + 1 >= self.epochs
        self.keep()
        if self.on_epoch is not None:
            self.on_epoch(epoch + 1, figures)
        if out_of_time(state, self.budget):
            self.model.stop_training = True

    def _require_numbers(self, figures: dict[str, Any]) -> None:
        for name in ("loss", "val_loss"):
            if name in figures and not math.isfinite(value := float(figures[name])):
                rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
                raise Diverged(
                    f"the {'training' if name == 'loss' else 'validation'} loss is {value} in epoch {self.epoch + 1}, "
                    f"at a learning rate of {rate:.2g}: a recipe with a lower learning_rate may do better"
                )


def out_of_time(state: State, budget_s: float | None) -> bool:
    """Whether another epoch would exceed the budget. The first epoch always runs."""
    run = len(state.history)
    return budget_s is not None and run > 0 and state.seconds * (run + 1) / run > budget_s
