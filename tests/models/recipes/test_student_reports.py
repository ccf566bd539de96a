"""Promises of the reports' recipes: each builds as published, learns, is saved, answers alike everywhere, explains."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from models.networks import architectures
from models.networks.backbones import BACKBONE_NETWORKS, backbone_of, freeze
from models.networks.grad_cam import grad_cam
from models.networks.pretrained import SOURCES
from models.recipes.catalogue import PARAMETER_COUNTS, RECIPES, Recipe
from models.recipes.student_reports import PUBLISHED_SYSTEMS, REPORT_SUMMARIES, PublishedSystem, published_system
from models.serving import artifact, conversion
from models.serving.engines import OpenVinoEngine
from models.training.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("eagerly")
SIDES = {
    "carson_simple": 96, "carson_final": 96, "harrisburg_cnn": 48, "covientist_cnn": 48, "coronahack_cnn": 48,
    "xception": 71, "inceptionv3": 75, "inceptionresnetv2": 75,
}  # fmt: skip
"""The smallest images that an architecture takes; 64 where it is not named."""
CONVERTED = (
    "carson-simple", "carson-final", "harrisburg-cnn", "covientist-cnn", "karcevski-simple", "coronahack-cnn",
    "harrisburg-vgg19", "covientist-resnet18", "coronahack-xception", "covientist-efficientnet",
)  # fmt: skip
"""One for each kind of layer: the rest are deeper ones of the same layers."""
NAMES = """
    coronahack-xception coronahack-vgg16 coronahack-vgg19 coronahack-resnet101v2 coronahack-inceptionv3
    coronahack-inceptionresnetv2 coronahack-efficientnetv2s coronahack-efficientnetv2m coronahack-cnn carson-simple
    carson-final harrisburg-cnn harrisburg-vgg19 covientist-cnn covientist-vgg16 covientist-vgg19 covientist-resnet18
    covientist-resnet34 covientist-resnet50 covientist-resnet101 covientist-inception covientist-efficientnet
    karcevski-simple karcevski-complex karcevski-augmented karcevski-resnet50
"""
BY_HAND = sorted(one.recipe.name for one in PUBLISHED_SYSTEMS if one.recipe.architecture not in SOURCES)


def parameters(variables: list[keras.Variable]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def kind(layer: keras.Layer) -> tuple[Any, ...]:
    """What a layer must have in common with another one that is learned, saved, converted and explained as it is."""
    about = layer.get_config()
    return (type(layer), *(about.get(name) for name in ("activation", "padding", "strides", "dilation_rate")))


def shortened(network: keras.Model) -> keras.Model:
    """A network that ends behind its first layers of each kind, with scores of its own kind: depth only takes time."""
    backbone = backbone_of(network)
    kinds = [kind(layer) for layer in backbone.layers]
    end = max(map(kinds.index, kinds))
    while True:  # branches may run beside the layer that brings the last kind
        maps = backbone.layers[end].output
        if len(maps.shape) == 4 and {kind(layer) for layer in keras.Model(network.input, maps).layers} == set(kinds):
            break
        end += 1
    for layer in network.layers[len(backbone.layers) :]:
        maps = type(layer).from_config(layer.get_config())(maps)
    return keras.Model(network.input, maps, name=network.name)


def small(recipe: Recipe) -> Recipe:
    """The recipe on the smallest images, for one epoch of one step, without learned weights.

    SGD, because other optimisers keep more for each of a deep network's many weights; training/test_fitting.py
    looks at them.
    """
    side = SIDES.get(recipe.architecture, 64)
    spec = replace(recipe.preprocessing, height=side, width=side)
    plain = replace(recipe.from_scratch(), optimizer="sgd", schedule="constant", learning_rate=1e-3)
    return replace(plain, preprocessing=spec, epochs=1, batch_size=6, patience=1)


@dataclass(frozen=True)
class Life:
    """What became of a network from its building to its heat maps."""

    parameters: int
    """Of the whole network with three classes."""
    settings: dict[str, Any]
    answers: Any
    saved: artifact.Artifact
    heat: Any


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Life]:
    """Lives through a recipe's small form; recipes that have their network in common share its life."""
    lives: dict[tuple[str, int], Life] = {}

    def of(name: str) -> Life:
        recipe = small(RECIPES[name])
        key = recipe.architecture, recipe.preprocessing.channels
        if key not in lives:
            lives[key] = lived(recipe, tmp_path_factory.mktemp("artifact"))
        return lives[key]

    return of


def lived(recipe: Recipe, folder: Path) -> Life:
    images = np.random.default_rng(0).integers(0, 256, (6, *recipe.preprocessing.shape), dtype=np.uint8)
    network = architectures.build(recipe.architecture, recipe.preprocessing.shape, 2)
    parameters = network.count_params() + sum(map(np.size, network.get_layer("logits").get_weights())) // 2
    if recipe.architecture in BACKBONE_NETWORKS:
        network = shortened(network)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(architectures.ARCHITECTURES, recipe.architecture, lambda *_: network)
        trained = train(recipe, images, np.arange(6) % 2, ["train"] * 6, ("NORMAL", "PNEUMONIA"), seed=1)
    about = trained.metadata(data_fingerprint="f" * 64, code_version="test", made_data=True)
    about = artifact.save(folder, trained.model, about, trained.sample)
    saved = artifact.load(folder, about.model_sha256)
    answers = keras.ops.convert_to_numpy(trained.model(saved.sample.inputs, training=False))
    logits = trained.model.get_layer("logits")
    if values := logits.get_weights():  # two classes that contradict each other: what is not for one is for the other
        logits.set_weights([values[0][:, :1] * [[1e3, -1e3]], values[1]])
    heat = grad_cam(trained.model, images[[0, 0]], [0, 1])
    keras.backend.clear_session()
    return Life(parameters, trained.settings, answers, saved, heat)


@pytest.mark.parametrize("name", NAMES.split())
def test_every_recipe_learns_is_saved_answers_alike_and_explains(
    name: str, life: Callable[[str], Life], tmp_path: Path
) -> None:
    import tensorflow as tf

    one, recipe = life(name), RECIPES[name]
    assert math.isfinite(one.settings["history"][0]["loss"])
    assert one.settings["weights"] == "none"
    if recipe.architecture in BACKBONE_NETWORKS:  # as many, whatever the size of the image
        assert one.parameters == PARAMETER_COUNTS[name]
    assert np.allclose(one.saved.sample.probabilities, one.answers, atol=1e-5), "a scorer opens what was trained"
    assert np.allclose(one.answers.sum(axis=1), 1, atol=1e-5)
    assert one.heat.shape == (2, *one.saved.metadata.preprocessing.shape[:2])
    assert np.isfinite(one.heat).all()
    assert one.heat.max() == pytest.approx(1)
    if name in CONVERTED:
        tf.config.run_functions_eagerly(False)
        conversion.main(str(one.saved.model_path), str(tmp_path / "model.xml"), "2")
        answers = OpenVinoEngine(tmp_path / "model.xml", "f32", 4)(one.saved.sample.inputs)
        assert np.allclose(answers, one.answers, atol=1e-4)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_hand_made_network_has_as_many_parameters_as_are_listed(name: str) -> None:
    recipe = RECIPES[name]
    model = architectures.build(recipe.architecture, recipe.preprocessing.shape, 3)
    assert model.count_params() == PARAMETER_COUNTS[name]


@pytest.mark.parametrize("one", [one for one in PUBLISHED_SYSTEMS if one.parameters], ids=lambda one: one.recipe.name)
def test_a_network_has_exactly_the_parameters_that_its_report_published(one: PublishedSystem) -> None:
    recipe = one.recipe
    model = architectures.build(recipe.architecture, recipe.preprocessing.shape, one.classes)
    assert model.count_params() == one.parameters
    for stage in recipe.stages[-1:]:
        freeze(model, stage.backbone)
    assert parameters(model.trainable_weights) == one.trainable


def test_the_houses_own_recipes_have_as_many_parameters_as_are_listed() -> None:
    for name in set(RECIPES) - {one.recipe.name for one in PUBLISHED_SYSTEMS}:
        recipe = RECIPES[name]
        built = architectures.build(recipe.architecture, recipe.preprocessing.shape, 3)
        assert built.count_params() == PARAMETER_COUNTS[name]
    assert set(PARAMETER_COUNTS) == set(RECIPES)


def test_every_system_of_the_five_reports_is_a_recipe_with_its_source() -> None:
    assert {one.recipe.name for one in PUBLISHED_SYSTEMS} == set(NAMES.split())
    for one in PUBLISHED_SYSTEMS:
        assert one.recipe is RECIPES[one.recipe.name]
        assert published_system(one.recipe.name) is one
        assert one.report in REPORT_SUMMARIES
        assert one.recipe.name.startswith(one.report)
        assert Recipe.from_dict(one.recipe.to_dict()) == one.recipe
        assert all(0 < value < 1 for value in one.figures.values())
        assert (one.recipe.weights == "imagenet") == (one.recipe.architecture in SOURCES)
    assert published_system("local-patterns") is None


def test_one_unit_answers_two_classes_as_a_sigmoid_does() -> None:
    model = architectures.build("carson_final", (96, 96, 3), 2)
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    unit = keras.ops.convert_to_numpy(keras.Model(model.input, model.get_layer("unit").output)(images))
    answers = keras.ops.convert_to_numpy(model(images))
    assert np.allclose(answers[:, 1], 1 / (1 + np.exp(-unit[:, 0])), atol=1e-6)
