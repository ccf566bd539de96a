"""Checkpoints of a training, on a network of one layer: whole or refused, and resumed from exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from models.files import UNFINISHED_PREFIX
from models.training.checkpoint import BEST, STATE, TRAINER, DamagedCheckpointError, State, load, save

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
TARGETS = INPUTS.sum(axis=1, keepdims=True)


def trainer(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.AdamW(0.1), loss="mse", run_eagerly=True)
    return model


def trained(folder: Path, epochs: int = 2) -> keras.Model:
    """A trainer with a checkpoint of each epoch, the first one being the best."""
    model = trainer(1)
    best = []
    for epoch in range(epochs):
        model.train_on_batch(INPUTS, TARGETS)
        best = best or model.get_weights()
        state = State(history=[{"loss": 1.0}] * (epoch + 1), best=0.5, best_epoch=0, wait=epoch, seconds=2.5)
        save(folder, "this one", model, state, best)
    return model


def test_what_is_loaded_goes_on_as_what_was_saved(tmp_path: Path) -> None:
    model, other = trained(tmp_path), trainer(2)
    loaded = load(tmp_path, "this one", other)
    assert loaded is not None
    assert (len(loaded[0].history), loaded[0].best, loaded[0].wait, loaded[0].seconds) == (2, 0.5, 1, 2.5)
    once = trainer(1)
    once.train_on_batch(INPUTS, TARGETS)
    assert all(np.allclose(a, b) for a, b in zip(loaded[1], once.get_weights(), strict=True)), "the best weights"
    for _ in range(3):
        assert model.train_on_batch(INPUTS, TARGETS) == pytest.approx(other.train_on_batch(INPUTS, TARGETS), rel=1e-5)


def test_only_the_newest_checkpoint_stays(tmp_path: Path) -> None:
    trained(tmp_path, epochs=3)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0003"]


def test_where_there_is_none_there_is_nothing_to_load(tmp_path: Path) -> None:
    assert load(tmp_path / "never", "this one", trainer(1)) is None


def test_what_a_killed_writer_left_is_no_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path, epochs=1)
    (tmp_path / "epoch-0001").rename(tmp_path / f"{UNFINISHED_PREFIX}epoch-0001")
    assert load(tmp_path, "this one", trainer(1)) is None
    trained(tmp_path, epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001"]


@pytest.mark.parametrize("name", [TRAINER, BEST, STATE])
@pytest.mark.parametrize("left", [0, 0.5, None])
def test_a_damaged_one_is_told_from_a_whole_one(tmp_path: Path, name: str, left: float | None) -> None:
    trained(tmp_path, epochs=1)
    path = tmp_path / "epoch-0001" / name
    whole = path.read_bytes()
    if left is None:
        path.unlink()
    else:
        path.write_bytes(whole[: int(left * len(whole))])
    with pytest.raises(DamagedCheckpointError) as caught:
        load(tmp_path, "this one", trainer(1))
    assert str(tmp_path) not in str(caught.value)


def test_one_of_another_training_or_another_network_is_not_taken(tmp_path: Path) -> None:
    trained(tmp_path, epochs=1)
    with pytest.raises(DamagedCheckpointError, match="another training"):
        load(tmp_path, "another one", trainer(1))
    wider = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    wider.compile("adamw", loss="mse")
    with pytest.raises(DamagedCheckpointError, match="cannot be read"):
        load(tmp_path, "this one", wider)
