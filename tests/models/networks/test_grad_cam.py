"""Grad-CAM, and the gradients that it is computed from."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from models.networks.grad_cam import grad_cam, gradients


def test_gradients_equal_the_analytical_derivative() -> None:
    values = np.array([[0.5, -1.0, 2.0]], np.float32)
    other = np.array([[2.0]], np.float32)
    found = gradients(
        lambda x: keras.ops.sum(x[0] ** 3 - 2.0 * x[0]) * x[1][0, 0],
        [keras.ops.convert_to_tensor(one) for one in (values, other)],
    )
    assert np.allclose(found[0], 2 * (3 * values**2 - 2), atol=1e-5)
    assert found[1].item() == pytest.approx((values**3 - 2 * values).sum(), rel=1e-5)


@pytest.fixture(scope="module")
def spots() -> keras.Model:
    """A network that predicts whether there are more bright (0) or more dark (1) spots, with a filter for each."""
    inputs = keras.Input((64, 64, 1))
    grey = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    maps = keras.layers.Conv2D(2, 8, strides=4, padding="same", activation="relu", name="maps")(grey)
    logits = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(maps))
    model = keras.Model(inputs, keras.layers.Activation("softmax")(logits))
    kernel = np.full((8, 8, 1, 1), 1 / 64, np.float32)
    model.get_layer("maps").set_weights([np.concatenate([kernel, -kernel], axis=-1), np.full(2, -0.2, np.float32)])
    model.get_layer("logits").set_weights([np.array([[9, -9], [-9, 9]], np.float32), np.zeros(2, np.float32)])
    return model


def pictures(n: int) -> tuple[Any, Any]:
    """Grey images (n, 64, 64, 1), each with a bright and a dark spot, and the spots' centres (n, 2, 2)."""
    random = np.random.default_rng(0)
    bright = random.integers(8, 56, (n, 2))
    centres = np.stack([bright, (bright + 32) % 64], axis=1)
    y, x = np.mgrid[:64, :64]
    images = np.full((n, 64, 64), 128.0)
    for one, places in enumerate(centres):
        for (row, column), height in zip(places, (110, -110), strict=True):
            images[one] += height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 30)
    return np.clip(images, 0, 255).astype(np.uint8)[..., None], centres


def test_the_heat_is_on_the_spot_that_decides_the_class(spots: keras.Model) -> None:
    images, centres = pictures(12)
    for wanted in (0, 1):
        heat = grad_cam(spots, images, np.full(12, wanted))
        assert heat.shape == (12, 64, 64)
        assert heat.min() == 0
        assert np.allclose(heat.max(axis=(1, 2)), 1)
        hottest = np.stack(np.unravel_index(heat.reshape(12, -1).argmax(axis=1), (64, 64)), axis=1)
        assert (np.abs(hottest - centres[:, wanted]) <= 5).all()
        elsewhere = heat[np.arange(12), *centres[:, 1 - wanted].T]
        assert elsewhere.max() < 0.1


def test_a_heat_map_does_not_depend_on_the_other_images_of_the_batch(spots: keras.Model) -> None:
    images, _ = pictures(4)
    together = grad_cam(spots, images, [0, 1, 0, 1])
    alone = np.concatenate([grad_cam(spots, images[one : one + 1], [one % 2]) for one in range(4)])
    assert np.allclose(together, alone, atol=1e-5)


def test_a_heat_map_is_empty_where_nothing_supports_the_class(spots: keras.Model) -> None:
    assert not grad_cam(spots, np.full((1, 64, 64, 1), 128, np.uint8), [0]).any()


@pytest.mark.parametrize("head", ["flatten", "nested", "two branches", "squeeze", "softmax in the last dense layer"])
def test_networks_of_other_structures_are_explained_too(head: str) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 1))
    if head == "nested":
        inner = keras.Input((32, 32, 1))
        body = keras.Model(inner, keras.layers.Conv2D(4, 3, strides=4, activation="relu")(inner), name="body")
        features = body(inputs)
    else:
        features = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(inputs)
    if head == "squeeze":  # its pooling is not the last one
        gate = keras.layers.Dense(4, activation="sigmoid")(keras.layers.GlobalAveragePooling2D()(features))
        features = keras.layers.Multiply()([features, keras.layers.Reshape((1, 1, 4))(gate)])
    flat = keras.layers.Flatten()(features) if head == "flatten" else keras.layers.GlobalMaxPooling2D()(features)
    if head == "two branches":
        coarse = keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(features))
        flat = keras.layers.Concatenate()([flat, coarse])
    if head.startswith("softmax"):
        outputs = keras.layers.Dense(2, activation="softmax")(flat)
    else:
        outputs = keras.layers.Softmax()(keras.layers.Dense(2)(flat))
    image = np.zeros((1, 32, 32, 1), np.uint8)
    image[0, 4:12, 20:28] = 200
    model = keras.Model(inputs, outputs)
    heats = [grad_cam(model, image, [index])[0] for index in (0, 1)]
    heat = max(heats, key=np.sum)  # in an untrained network nothing may support one of the two classes
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert heat.max() == pytest.approx(1)
    assert 0 <= row <= 16, "the bright square is in the upper right quarter"
    assert 16 <= column <= 31


def test_a_network_without_feature_maps_is_refused() -> None:
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    with pytest.raises(ValueError, match="there is nothing to explain"):
        grad_cam(model, np.zeros((1, 8), np.uint8), [0])
