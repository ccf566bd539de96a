"""Promises of models/networks/pretrained.py, backbones.py and resnet.py: learned weights from files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from models.networks import architectures
from models.networks.backbones import backbone_of
from models.networks.pretrained import SOURCES, PretrainedError, load
from models.recipes.catalogue import RECIPES, recipe_named
from models.serving import engines
from models.training import worker
from models.training.job import IMAGES as IMAGES_FILE
from models.training.job import TrainingJob

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
"""Of ImageNet's colours."""
SHAPE = (32, 32, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def resnet() -> keras.Model:
    """For tests that only see what is said of its weights."""
    return network("resnet18", 0)


def network(architecture: str, seed: int, shape: tuple[int, int, int] = SHAPE) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return architectures.build(architecture, shape, 2, seed)


def maps(model: keras.Model, images: NDArray[np.uint8] = IMAGES) -> NDArray[np.float32]:
    found: NDArray[np.float32] = keras.ops.convert_to_numpy(backbone_of(model)(images, training=False))
    return found


def torch_weights(model: keras.Model) -> dict[str, NDArray[Any]]:
    """A ResNet's weights under torchvision's names."""
    tensors: dict[str, NDArray[Any]] = {"fc.weight": np.zeros((1000, 512), np.float32)}
    for layer in model.layers:
        name, values = layer.name.replace("_", "."), layer.get_weights()
        if isinstance(layer, keras.layers.Conv2D):
            tensors[f"{name}.weight"] = np.ascontiguousarray(values[0].transpose(3, 2, 0, 1))
        elif isinstance(layer, keras.layers.BatchNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            tensors |= {f"{name}.{what}": value for what, value in zip(names, values, strict=True)}
            tensors[f"{name}.num_batches_tracked"] = np.array(7)
    return tensors


def moved(model: keras.Model) -> keras.Model:
    """The network with normalisations that do something."""
    random = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([value + random.uniform(0, 0.2, value.shape) for value in layer.get_weights()])
    return model


def test_a_resnet_takes_torchvisions_weights_by_their_names(tmp_path: Path) -> None:
    teacher, other = moved(network("resnet18", 1)), network("resnet18", 2)
    save_file(torch_weights(teacher), tmp_path / SOURCES["resnet18"].file)
    read = load(other, "resnet18", tmp_path)
    assert np.allclose(maps(teacher), maps(other), atol=1e-6)
    assert read["file"] == "resnet18.tv_in1k.safetensors"
    assert len(read["sha256"]) == 64
    parameters = sum(math.prod(weight.shape) for weight in backbone_of(other).trainable_weights)
    assert parameters == 11_689_512 - 513_000, "torchvision's, less its thousand classes"
    halves = {name: values.astype(np.float16) for name, values in torch_weights(teacher).items()}
    save_file(halves, tmp_path / SOURCES["resnet18"].file)
    load(other, "resnet18", tmp_path)
    assert np.allclose(maps(teacher), maps(other), rtol=0.01, atol=0.002 * maps(teacher).max())
    assert {weight.dtype for weight in other.weights} == {"float32"}


def test_a_backbone_of_keras_takes_a_file_of_keras_and_the_pixels_that_it_expects(tmp_path: Path) -> None:
    import h5py
    from keras.src.legacy.saving import legacy_h5_format  # no public function writes the files' old format

    teacher, other = moved(network("efficientnetb0", 1)), network("efficientnetb0", 2)
    normalisation = next(one for one in teacher.layers if isinstance(one, keras.layers.Normalization))
    normalisation.set_weights([MEAN, DEVIATION, np.array(1)])  # as in Keras's file, which calls this the variance
    normalisation.finalize_state()
    with h5py.File(tmp_path / SOURCES["efficientnetb0"].file, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, backbone_of(teacher))
    load(other, "efficientnetb0", tmp_path)
    assert np.allclose(maps(teacher), maps(other), atol=1e-5)
    seen = keras.Model(other.input, other.get_layer("stem_conv_pad").input)(IMAGES)
    assert np.allclose(keras.ops.convert_to_numpy(seen), (IMAGES / 255 - MEAN) / DEVIATION, atol=1e-4)
    part = keras.Model(other.input, other.get_layer("block2a_project_bn").output)  # a copy of all takes its time
    half, whole = (
        np.ravel(keras.ops.convert_to_numpy(one(IMAGES, training=False))).astype(np.float32)
        for one in (engines.with_policy(part, "mixed_bfloat16"), part)
    )
    assert np.corrcoef(half, whole)[0, 1] > 0.99, "a copy in half precision sees the same"


@pytest.mark.parametrize("architecture", ["vgg16", "resnet18", "xception"])
def test_each_backbone_sees_what_its_weights_expect(architecture: str) -> None:
    side = 71 if architecture == "xception" else 32
    grey = np.random.default_rng(1).integers(0, 256, (1, side, side, 1), dtype=np.uint8)
    model = network(architecture, 0, (side, side, 1))
    layer = model.get_layer("as_the_weights_expect")
    seen = keras.ops.convert_to_numpy(keras.Model(model.input, layer.output)(grey))
    colours = np.repeat(grey, 3, axis=-1).astype(np.float32)
    expected = {
        "vgg16": keras.applications.vgg16.preprocess_input(colours.copy()),
        "xception": keras.applications.xception.preprocess_input(colours.copy()),
        "resnet18": keras.applications.imagenet_utils.preprocess_input(colours.copy(), mode="torch"),
    }[architecture]
    assert np.allclose(seen, expected, atol=1e-4)


def test_without_the_file_the_error_names_model_file_and_settings(tmp_path: Path, resnet: keras.Model) -> None:
    with pytest.raises(PretrainedError) as caught:
        load(resnet, "resnet18", tmp_path)
    for word in ("resnet18", "resnet18.tv_in1k.safetensors", "CXR_PRETRAINED_DIR", "CXR_PRETRAINED=none"):
        assert word in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_offline_the_error_names_model_file_and_settings(monkeypatch: pytest.MonkeyPatch, resnet: keras.Model) -> None:
    gone = replace(SOURCES["resnet18"], file="nowhere.safetensors", url="http://127.0.0.1:9/model.safetensors")
    monkeypatch.setitem(SOURCES, "resnet18", gone)
    with pytest.raises(PretrainedError) as caught:
        load(resnet, "resnet18", None)
    for word in ("resnet18", "nowhere.safetensors", "CXR_PRETRAINED_DIR", "CXR_PRETRAINED=none"):
        assert word in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_training_without_its_weights_has_failed_in_these_words(tmp_path: Path) -> None:
    recipe = RECIPES["covientist-resnet18"]
    recipe = replace(recipe, preprocessing=replace(recipe.preprocessing, height=32, width=32))
    TrainingJob(
        recipe=recipe, classes=("A", "B"), labels=(0, 1, 0, 1), splits=("train", "train", "validation", "validation"),
        contents="", seed=0, epochs=None, budget_s=None, data_fingerprint="f" * 64, code_version="test", made_data=True,
        pretrained_dir=tmp_path / "weights",
    ).write(tmp_path)  # fmt: skip
    np.save(tmp_path / IMAGES_FILE, np.zeros((4, *SHAPE), np.uint8))
    outcome = worker.train(tmp_path)
    assert outcome.state == "failed"
    assert outcome.message.startswith("resnet18: CXR_PRETRAINED_DIR holds no resnet18.tv_in1k.safetensors")


def test_a_file_that_does_not_fit_is_told_in_one_line(tmp_path: Path, resnet: keras.Model) -> None:
    path, model = tmp_path / SOURCES["resnet18"].file, resnet
    tensors = torch_weights(model)
    for damaged in ({}, tensors | {"conv1.weight": np.zeros((64, 1, 7, 7), np.float32)}):
        save_file(damaged, path)
        with pytest.raises(PretrainedError, match=r"does not hold its weights .*fetch the file anew") as caught:
            load(model, "resnet18", tmp_path)
        assert len(str(caught.value).splitlines()) == 1
    (tmp_path / SOURCES["vgg16"].file).write_bytes(b"no HDF5")
    with pytest.raises(PretrainedError, match="does not hold its weights"):
        load(network("vgg16", 0), "vgg16", tmp_path)
    with pytest.raises(PretrainedError, match="no ImageNet weights for carson_final"):
        load(model, "carson_final", tmp_path)


def test_half_a_download_is_removed_so_that_the_next_training_fetches_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resnet: keras.Model
) -> None:
    half, model = tmp_path / SOURCES["resnet18"].file, resnet
    save_file({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}, half)
    half.write_bytes(half.read_bytes()[:5000])
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: str(half))
    with pytest.raises(PretrainedError, match="the next training fetches it anew"):
        load(model, "resnet18", None)
    assert not half.exists()
    half.write_bytes(b"put there by hand")
    with pytest.raises(PretrainedError, match="fetch the file anew"):
        load(model, "resnet18", tmp_path)
    assert half.exists(), "a file of CXR_PRETRAINED_DIR is its owner's"


def test_safetensors_are_read_within_their_bounds_only(tmp_path: Path) -> None:
    path, model = tmp_path / SOURCES["resnet18"].file, network("resnet18", 0)
    save_file(torch_weights(model), path)
    whole = path.read_bytes()
    header = {"conv1.weight": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}
    outside, unknown = json.dumps(header).encode(), json.dumps(header).replace("F32", "BF16").encode()
    nested = b"[" * 100_000
    for damaged in (
        b"", whole[:5], whole[:30], whole[:-30], b"\xff" * 8 + whole[8:],
        len(outside).to_bytes(8, "little") + outside + bytes(20),
        len(unknown).to_bytes(8, "little") + unknown + bytes(36),
        len(nested).to_bytes(8, "little") + nested,
        (2).to_bytes(8, "little") + b"[]",
    ):  # fmt: skip
        path.write_bytes(damaged)
        with pytest.raises(PretrainedError, match="does not hold its weights") as caught:
            load(model, "resnet18", tmp_path)
        assert len(str(caught.value).splitlines()) == 1


def test_without_learned_weights_a_recipe_freezes_nothing_and_is_another_training() -> None:
    recipe, anew = recipe_named("covientist-vgg16"), recipe_named("covientist-vgg16", "none")
    assert (recipe.weights, len(recipe.stages)) == ("imagenet", 2)
    assert (anew.weights, anew.stages, anew.learning_rate) == ("none", (), recipe.stages[-1].learning_rate)
    assert recipe_named("compact-cnn", "none") == recipe_named("compact-cnn")
