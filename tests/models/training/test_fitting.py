"""Fitting: optimisers, schedules, and freezing in stages, also after a training was killed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from models.networks import architectures
from models.networks.backbones import backbone_of, freeze
from models.networks.pretrained import SOURCES
from models.radiographs.preprocessing import PreprocessingSpec
from models.recipes.catalogue import Plateau, Recipe, Stage
from models.training import fitting
from models.training.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.training.train import TrainedModel

pytestmark = pytest.mark.usefixtures("eagerly")
CLASSES = ("A", "B")
LABELS = np.arange(12) % 2
SPLITS = np.array(["train"] * 8 + ["validation"] * 4)
LEARNED = 7.5


def tiny(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """A backbone of three layers with weights, and scores behind it."""
    inputs = keras.Input(shape)
    x = keras.layers.Rescaling(1 / 255)(inputs)
    initial = keras.initializers.HeNormal(seed)
    x = keras.layers.Conv2D(4, 5, strides=2, kernel_initializer=initial, name="low")(x)
    x = keras.layers.BatchNormalization(momentum=0.5, name="norm")(x)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", kernel_initializer=initial, name="high")(x)
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    x = keras.layers.Dense(classes, kernel_initializer=keras.initializers.GlorotUniform(seed), name="logits")(x)
    return keras.Model(inputs, keras.layers.Activation("softmax")(x))


@pytest.fixture
def images() -> NDArray[np.uint8]:
    """Two kinds of brightness that cannot be mistaken."""
    noise = np.random.default_rng(0).integers(0, 60, (12, 32, 32, 1))
    return (noise + 150 * LABELS[:, None, None, None]).astype(np.uint8)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    """First the scores alone, then all; its backbone has learned that the first bias is 7.5."""
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", tiny)
    monkeypatch.setitem(SOURCES, "tiny", replace(SOURCES["vgg16"], file="tiny.weights.h5"))
    keras.utils.set_random_seed(3)
    teacher = tiny((32, 32, 1), 2, 3)
    teacher.get_layer("low").bias.assign(np.full(4, LEARNED))
    (tmp_path / "weights").mkdir()
    backbone_of(teacher).save_weights(tmp_path / "weights" / "tiny.weights.h5")
    return Recipe(
        name="tiny", architecture="tiny", preprocessing=PreprocessingSpec(32, 32), epochs=6, batch_size=8, patience=9,
        weight_decay=0.0, optimizer="adam", schedule="constant", weights="imagenet",
        stages=(Stage(0, 0.0, 0.02), Stage(2, 0.5, 0.01), Stage(4, 1.0, 0.01)),
    )  # fmt: skip


def learned(recipe: Recipe, images: Any, folder: Path, **more: Any) -> TrainedModel:
    return train(recipe, images, LABELS, SPLITS, CLASSES, seed=1, pretrained=folder / "weights", **more)


def changed(trained: TrainedModel) -> set[str]:
    """Layers whose weights are not as the file and the seed made them."""
    before = tiny((32, 32, 1), 2, 3)
    before.get_layer("low").bias.assign(np.full(4, LEARNED))
    pairs = {name: (trained.model.get_layer(name), before.get_layer(name)) for name in ("low", "norm", "high")}
    return {
        name
        for name, (one, other) in pairs.items()
        if not all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
    }


def test_a_frozen_backbone_stays_as_it_was_learned_and_is_trained_in_its_stage(
    recipe: Recipe, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    frozen = learned(replace(recipe, epochs=2, stages=recipe.stages[:1]), images, tmp_path)
    assert changed(frozen) == set()
    assert frozen.settings["trainable_parameters"] == 10, "of the scores alone"
    assert frozen.settings["pretrained"]["file"] == "tiny.weights.h5"
    part = learned(replace(recipe, epochs=4, stages=recipe.stages[:2]), images, tmp_path)
    assert changed(part) == {"high"} or changed(part) == {"norm", "high"}
    whole = learned(replace(recipe, batch_size=4), images, tmp_path)
    assert whole.settings["best_epoch"] > 4
    assert changed(whole) == {"low", "norm", "high"}
    assert whole.settings["trainable_parameters"] > 10


@pytest.mark.parametrize(("schedule", "killed_after"), [("constant", 2), ("plateau", 5)])
def test_a_training_killed_in_a_later_stage_goes_on_as_if_it_had_not_been(
    recipe: Recipe, images: NDArray[np.uint8], tmp_path: Path, schedule: Any, killed_after: int
) -> None:
    recipe = replace(recipe, schedule=schedule, plateau=Plateau(factor=0.5, patience=1, lowest=1e-4))
    whole = learned(recipe, images, tmp_path)

    def kill(epoch: int, figures: dict[str, float]) -> None:  # noqa: ARG001 - so it is called
        if epoch == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learned(recipe, images, tmp_path, checkpoint=tmp_path / "kept", on_epoch=kill)
    resumed = learned(recipe, images, tmp_path, checkpoint=tmp_path / "kept")
    assert resumed.settings["epochs_resumed"] == killed_after
    assert resumed.history == whole.history
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_with_fewer_epochs_the_stages_begin_earlier(recipe: Recipe) -> None:
    spans = [(stage.first, stage.end) for stage in fitting.stretches(recipe, 6)]
    assert spans == [(0, 2), (2, 4), (4, 6)]
    assert [(stage.first, stage.end) for stage in fitting.stretches(recipe, 3)] == [(0, 1), (1, 2), (2, 3)]
    assert [(stage.first, stage.end, stage.backbone) for stage in fitting.stretches(recipe, 1)] == [(0, 1, 1.0)]


def test_the_rate_falls_where_the_loss_no_longer_does_and_not_below_its_lowest(
    recipe: Recipe, images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    falling = replace(
        recipe.from_scratch(), schedule="plateau", learning_rate=8.0, optimizer="sgd", epochs=7,
        plateau=Plateau(factor=0.1, patience=1, lowest=0.5),
    )  # fmt: skip
    seen = fitting.EpochBookkeeper

    class Watching(seen):  # type: ignore[misc,valid-type] # Keras has no type stubs
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            super().on_epoch_end(epoch, logs)
            rates.append(float(self.model.optimizer.learning_rate))

    monkeypatch.setattr(fitting, "EpochBookkeeper", Watching)
    result = train(falling, images, LABELS, SPLITS, CLASSES, seed=1)
    assert rates[0] == 8.0
    assert set(np.round(rates, 4)) == {8.0, 0.8, 0.5}
    assert rates == sorted(rates, reverse=True)
    assert set(result.history[0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}


@pytest.mark.parametrize(
    ("optimizer", "kind"), [("adamw", "AdamW"), ("adam", "Adam"), ("adamax", "Adamax"), ("sgd", "SGD")]
)
def test_each_optimiser_is_the_one_that_the_recipe_names(
    recipe: Recipe, images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, optimizer: Any, kind: str
) -> None:
    made = []
    original = getattr(keras.optimizers, kind)

    def recorded(*given: Any, **more: Any) -> Any:
        made.append(original(*given, **more))
        return made[-1]

    monkeypatch.setattr(keras.optimizers, kind, recorded)
    train(replace(recipe.from_scratch(), optimizer=optimizer, epochs=1), images, LABELS, SPLITS, CLASSES)
    assert [type(one).__name__ for one in made] == [kind]
    assert float(made[0].learning_rate) == pytest.approx(0.01)


def test_freezing_counts_the_backbones_layers_from_its_end(recipe: Recipe) -> None:  # noqa: ARG001 - registers tiny
    model = architectures.build("tiny", (32, 32, 1), 2)
    trainable = {}
    for share in (0.0, 1 / 3, 0.67, 1.0):
        freeze(model, share)
        trainable[share] = [name for name in ("low", "norm", "high", "logits") if model.get_layer(name).trainable]
    assert trainable[0.0] == ["logits"]
    assert trainable[1 / 3] == ["high", "logits"]
    assert trainable[0.67] == ["norm", "high", "logits"]
    assert trainable[1.0] == ["low", "norm", "high", "logits"]
    with pytest.raises(ValueError, match="has no backbone"):
        freeze(architectures.build("compact_cnn", (32, 32, 1), 2), 0.0)


def test_a_recipe_that_contradicts_itself_is_refused(recipe: Recipe) -> None:
    for wrong, words in (
        ({"weight_decay": 0.1}, "weight_decay must not be below 0, and 0 for optimisers other than adamw"),
        ({"optimizer": "lion"}, "optimizer must be one of"),
        ({"weights": "none"}, "stages need pretrained weights"),
        ({"stages": (Stage(1, 0.0, 0.1),)}, "the first stage must start at epoch 0"),
        ({"stages": (Stage(0, 0.0, 0.1), Stage(9, 1.0, 0.1))}, "the first stage must start at epoch 0"),
        ({"views": ("lateral",)}, "views must be among"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(recipe, **wrong)
    for make in (lambda: Stage(0, 1.5, 0.1), lambda: Plateau(factor=2.0)):
        with pytest.raises(ValueError, match=r"backbone must be between|factor must be between"):
            make()
