"""Architectures: networks of Keras's own layers, from grey values to probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from models.networks import architectures
from models.networks.architectures import NEIGHBOUR_OFFSETS
from models.serving.artifact import open_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MANY_PARAMETERS = {"compact_cnn": (1.0e6, 1.4e6), "local_patterns": (0.2e6, 0.5e6)}
"""Parameters of this project's own networks at 96x96, where the dense layer of local patterns is small. The
student networks have their own tests."""


def noise(count: int, side: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 1), dtype=np.uint8)


@pytest.mark.parametrize("name", sorted(MANY_PARAMETERS))
def test_every_architecture_is_compact_and_takes_bytes_as_well_as_floats(name: str) -> None:
    model = architectures.build(name, (96, 96, 1), 3)
    low, high = MANY_PARAMETERS[name]
    assert low < model.count_params() < high
    images = noise(2, 96)
    from_bytes, from_floats = (
        keras.ops.convert_to_numpy(model(images.astype(kind), training=False)) for kind in ("uint8", "float32")
    )
    assert np.allclose(from_bytes, from_floats)
    assert from_bytes.dtype == np.float32
    assert np.allclose(from_bytes.sum(axis=1), 1)


@pytest.mark.parametrize("name", sorted(MANY_PARAMETERS))
def test_every_architecture_ends_in_logits_a_temperature_and_probabilities(name: str) -> None:
    model = architectures.build(name, (64, 64, 1), 3)
    assert [layer.name for layer in model.layers[-3:]] == ["logits", "temperature", "probabilities"]
    images = noise(4, 64)
    before = keras.ops.convert_to_numpy(model(images, training=False))
    model.get_layer("temperature").scale = 0.5
    flatter = np.sqrt(before) / np.sqrt(before).sum(axis=1, keepdims=True)
    assert np.allclose(keras.ops.convert_to_numpy(model(images, training=False)), flatter, atol=1e-5)


@pytest.mark.parametrize("name", sorted(MANY_PARAMETERS))
def test_every_architecture_has_only_layers_that_open_safely(name: str, tmp_path: Path) -> None:
    model = architectures.build(name, (64, 64, 1), 3)
    model.save(tmp_path / "model.keras")
    opened, images = open_model(tmp_path / "model.keras", 3), noise(2, 64)
    one, two = (keras.ops.convert_to_numpy(each(images, training=False)) for each in (model, opened))
    assert np.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("name", sorted(MANY_PARAMETERS))
def test_the_same_seed_gives_the_same_initial_weights(name: str) -> None:
    one, two, other = (architectures.build(name, (32, 32, 1), 2, seed).get_weights() for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_unknown_architecture_is_refused_with_a_list_of_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"compact_cnn, .*local_patterns"):
        architectures.build("alexnet", (32, 32, 1), 2)


def test_local_patterns_are_counted_as_defined() -> None:
    model = architectures.build("local_patterns", (64, 64, 1), 3)
    image = noise(1, 64) // 64  # four grey values: many neighbours are exactly as bright
    counts = keras.ops.convert_to_numpy(keras.Model(model.input, model.get_layer("counts1").output)(image))[0, 1, 0]
    grey, expected = image[0, :, :, 0].astype(int), {}
    for y in range(32 + 1, 64, 4):
        for x in range(1, 32, 4):
            bits = tuple(int(grey[y + down, x + right] >= grey[y, x]) for down, right in NEIGHBOUR_OFFSETS)
            if sum(bits[n] != bits[n - 1] for n in range(8)) <= 2:
                expected[bits] = expected.get(bits, 0) + 1
    assert counts.shape == (58,)
    assert sorted(np.round(counts[counts > 0] * 64).astype(int)) == sorted(expected.values())
    assert np.allclose(counts * 64, np.round(counts * 64))


def test_the_fixed_layers_of_local_patterns_are_not_trained() -> None:
    model = architectures.build("local_patterns", (64, 64, 1), 3)
    trained = {weight.path.split("/")[0] for weight in model.trainable_weights}
    assert not {name for name in trained if name.startswith(("neighbours", "templates"))}
    assert {"wide", "mix", "logits"} <= trained
