"""Training: what is learned, from what, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from models.networks import architectures
from models.recipes.catalogue import RECIPES, Augmentation, Recipe, recipe_named
from models.serving import devices
from models.serving.artifact import open_model
from models.training import fitting
from models.training.augmentation import RandomShift
from models.training.batches import Batches, class_weights
from models.training.calibration import apply
from models.training.train import Diverged, OutOfMemory, TrainingError, probabilities, train

if TYPE_CHECKING:
    from pathlib import Path

    from models.training.train import TrainedModel

CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")


class Recorded:
    """Images that remember which of their rows were read."""

    def __init__(self, images: Any) -> None:
        self.images, self.read = images, set()
        self.dtype, self.shape = images.dtype, images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Any) -> Any:
        self.read |= set(np.arange(len(self.images))[rows].tolist())
        return self.images[rows]


def tiny(shape: tuple[int, int, int], classes: int, seed: int = 0, *, temperature: bool = False) -> keras.Model:
    """A network that is built and compiled in a moment."""
    inputs = keras.Input(shape)
    grey = keras.layers.Rescaling(1 / 255)(inputs)
    features = keras.layers.Conv2D(4, 5, strides=4, kernel_initializer=keras.initializers.HeNormal(seed))(grey)
    logits = keras.layers.Dense(classes)(keras.layers.GlobalAveragePooling2D()(features))
    if temperature:
        logits = keras.layers.Rescaling(1.0, name="temperature", dtype="float32")(logits)
    return keras.Model(inputs, keras.layers.Activation("softmax")(logits))


@pytest.fixture
def recipe(trained: TrainedModel, monkeypatch: pytest.MonkeyPatch, eagerly: None) -> Recipe:  # noqa: ARG001 - runs so
    """Of that network."""
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", tiny)
    return replace(trained.recipe, architecture="tiny", epochs=1)


def test_neither_image_nor_label_of_a_test_row_is_ever_read(recipe: Recipe, data: Any) -> None:
    test = data.splits == "test"
    images = Recorded(data.images)
    poisoned = np.where(test, 10**9, data.labels)  # whoever looks it up fails
    train(recipe, images, poisoned, data.splits, CLASSES)
    assert images.read == set(np.flatnonzero(~test).tolist())


def test_a_small_network_learns_what_can_be_seen(trained: TrainedModel, data: Any) -> None:
    assert trained.metrics["balanced_accuracy"] > 0.9
    test = np.flatnonzero(data.splits == "test")
    answers = probabilities(trained.model, data.images, test)
    assert (answers.argmax(axis=1) == data.labels[test]).mean() > 0.9


def test_the_figures_say_that_they_are_of_the_validation_images(trained: TrainedModel, data: Any) -> None:
    counts = {name: int((data.splits == name).sum()) for name in ("train", "validation", "test")}
    assert trained.metrics["split"] == "validation"
    assert trained.metrics["n"] == counts["validation"]
    assert {name: one["images"] for name, one in trained.metrics["splits"].items()} == counts


def test_the_weights_of_the_best_epoch_are_kept(trained: TrainedModel, data: Any) -> None:
    rows = np.flatnonzero(data.splits == "validation")
    logits = keras.Model(trained.model.input, trained.model.get_layer("logits").output)(data.images[rows])
    losses = keras.losses.sparse_categorical_crossentropy(data.labels[rows], logits, from_logits=True)
    assert float(keras.ops.mean(losses)) == pytest.approx(min(epoch["val_loss"] for epoch in trained.history), rel=0.02)
    assert trained.settings["best_value"] == trained.history[trained.settings["best_epoch"] - 1]["val_loss"]


def test_the_temperature_is_in_the_saved_file(
    recipe: Recipe, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", partial(tiny, temperature=True))
    result = train(recipe, data.images, data.labels, data.splits, CLASSES)
    heat = result.settings["temperature"]
    assert abs(np.log(heat)) > 0.05
    rows = np.flatnonzero(data.splits == "validation")
    result.model.save(tmp_path / "calibrated.keras")
    calibrated = open_model(tmp_path / "calibrated.keras", 3)
    layer = calibrated.get_layer("temperature")
    assert layer.scale == pytest.approx(1 / heat)
    saved = probabilities(calibrated, data.images, rows)
    assert np.allclose(saved, probabilities(result.model, data.images, rows), atol=1e-6)
    layer.scale = 1.0
    calibrated.save(tmp_path / "plain.keras")
    plain = probabilities(open_model(tmp_path / "plain.keras", 3), data.images, rows)
    assert np.allclose(saved, apply(plain, heat), atol=1e-5)
    assert not np.allclose(saved, plain, atol=1e-3)
    assert result.metrics["log_loss"] == pytest.approx(
        -np.log(saved[np.arange(len(rows)), data.labels[rows]]).mean(), rel=1e-3
    )


def test_an_architecture_without_a_temperature_is_trained_and_said_to_be_uncalibrated(
    recipe: Recipe, data: Any
) -> None:
    settings = train(recipe, data.images, data.labels, data.splits, CLASSES).settings
    assert settings["temperature"] == 1.0
    assert "no layer called temperature" in settings["calibration"]


def test_what_is_known_of_a_training_goes_into_its_artifact(trained: TrainedModel) -> None:
    settings = trained.settings
    assert settings["learning_rate"] == trained.recipe.learning_rate
    assert settings["history"] == trained.history
    assert settings["epochs_run"] == len(trained.history)
    assert settings["images_per_s"] > 0
    assert (settings["backend"], settings["precision"]) == (keras.backend.backend(), "float32")


def test_the_kept_model_holds_no_augmentation_and_computes_in_float32(trained: TrainedModel) -> None:
    assert not [layer.name for layer in trained.model.layers if "random" in layer.name.lower()]
    assert isinstance(trained.model.layers[1], keras.layers.Rescaling)
    assert {layer.dtype_policy.name for layer in trained.model.layers} == {"float32"}


def test_mixed_precision_leaves_a_calibrated_float32_model(
    recipe: Recipe, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "available_gpus", lambda: [devices.Gpu("as if", 8)])
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", partial(tiny, temperature=True))
    result = train(recipe, data.images, data.labels, data.splits, CLASSES)
    assert result.settings["precision"] == "mixed_bfloat16"
    assert {layer.dtype_policy.name for layer in result.model.layers} == {"float32"}
    rows = np.flatnonzero(data.splits == "validation")
    uncalibrated = apply(probabilities(result.model, data.images, rows), 1 / result.settings["temperature"])
    loss = -np.log(uncalibrated[np.arange(len(rows)), data.labels[rows]]).mean()
    assert loss == pytest.approx(result.history[0]["val_loss"], rel=0.05), "what was trained is what was kept"


def test_augmentation_moves_images_but_never_mirrors_them() -> None:
    image = np.zeros((64, 64, 64, 1), np.float32)
    image[:, 20:44, 8:28] = 200.0  # the heart, on one side
    moved = keras.ops.convert_to_numpy(RandomShift(Augmentation(share=0.8), seed=3)(image, training=True))
    left, right = moved[:, :, :32].sum(axis=(1, 2, 3)), moved[:, :, 32:].sum(axis=(1, 2, 3))
    assert (left > 10 * right).all()
    untouched = (np.abs(moved - image).max(axis=(1, 2, 3)) < 1e-3).mean()
    assert 0.05 < untouched < 0.4


def test_a_sheared_image_leans_to_a_side_and_keeps_its_middle_row() -> None:
    image = np.zeros((32, 65, 65, 1), np.float32)
    image[:, :, 32] = 200.0  # an upright line
    how = Augmentation(share=1.0, translation=0.0, rotation=0.0, zoom=0.0, shear=0.5)
    moved = keras.ops.convert_to_numpy(RandomShift(how, seed=3)(image, training=True))[..., 0]
    places = moved.argmax(axis=2)
    assert (places[:, 32] == 32).all()
    leaning = places[:, 8] - 32
    assert np.abs(leaning).max() > 6
    assert np.abs(leaning).max() <= 12
    assert np.abs(leaning + (places[:, 56] - 32)).max() <= 1, "as far to the other side below"


def test_an_image_moved_by_whole_pixels_keeps_its_texture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1)).astype(np.float32)
    how = Augmentation(share=1.0, translation=0.1, rotation=0.0, zoom=0.0, whole_pixels=True)
    moved = keras.ops.convert_to_numpy(RandomShift(how, seed=3)(image, training=True))
    assert np.allclose(moved, moved.round(), atol=1e-3)
    assert (np.abs(moved - image).max(axis=(1, 2, 3)) > 1).mean() > 0.5


def test_augmentation_leaves_images_alone_that_are_scored() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 1)).astype(np.float32)
    assert np.array_equal(keras.ops.convert_to_numpy(RandomShift(Augmentation(), 0)(image, training=False)), image)


def test_a_class_without_a_training_image_is_an_error_that_names_it(trained: TrainedModel, make_data: Any) -> None:
    data = make_data(60)
    kept = data.labels != 2
    with pytest.raises(TrainingError, match="no training image of PNEUMONIA"):
        train(trained.recipe, data.images[kept], data.labels[kept], data.splits[kept], trained.classes)


def test_images_of_another_shape_than_the_recipes_are_refused(make_data: Any) -> None:
    data = make_data(12)
    with pytest.raises(TrainingError, match=r"\(224, 224, 1\)"):
        train(RECIPES["compact-cnn"], data.images, data.labels, data.splits, ("A", "B", "C"))


def test_splits_that_nobody_knows_are_refused(trained: TrainedModel, make_data: Any) -> None:
    data = make_data(12)
    for splits in (np.where(data.labels, data.splits, "dev"), np.where(data.labels, 0, 7).astype(np.uint8)):
        with pytest.raises(TrainingError, match="4 images have another one"):
            train(trained.recipe, data.images, data.labels, splits, trained.classes)


def test_training_works_without_validation_and_test_images(recipe: Recipe, make_data: Any) -> None:
    data = make_data(30)
    result = train(recipe, data.images, data.labels, np.zeros(30, np.uint8), CLASSES)
    assert result.metrics["n"] == 0
    assert result.metrics["accuracy"] is None
    assert result.settings["best_by"] == "loss"
    assert "no validation images" in result.settings["calibration"]
    assert len(result.sample) == 24


def test_training_ends_within_its_time_and_tells_each_epoch(recipe: Recipe, data: Any) -> None:
    told: list[int] = []
    result = train(
        replace(recipe, epochs=50), data.images, data.labels, data.splits, CLASSES, budget_s=0.0,
        on_epoch=lambda number, figures: told.append(number) if "val_loss" in figures else None,
    )  # fmt: skip
    assert told == [1]
    assert result.settings["epochs_run"] == 1


def test_a_loss_that_is_no_number_ends_training_at_once_in_words(recipe: Recipe, data: Any) -> None:
    told: list[int] = []
    wild = replace(recipe, learning_rate=1e38, epochs=9)
    with pytest.raises(Diverged, match=r"loss is (nan|inf) in epoch \d, at a learning rate of 9.*e\+37"):
        train(wild, data.images, data.labels, data.splits, CLASSES, on_epoch=lambda number, _: told.append(number))
    assert len(told) <= 1


def test_lack_of_memory_is_said_with_what_needs_less(
    recipe: Recipe, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
        model = tiny(shape, classes, seed)
        vast = keras.ops.mean(keras.ops.tile(model.output, (1, 2**40)), axis=1, keepdims=True)
        return keras.Model(model.input, keras.layers.Add()([model.output, vast]))  # TensorFlow's own allocator runs out

    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", greedy)
    with pytest.raises(OutOfMemory, match=r"batches of 16 images of 48 x 48.*smaller batch_size"):
        train(recipe, data.images, data.labels, data.splits, CLASSES)


def test_rare_classes_weigh_as_much_as_frequent_ones_unless_the_recipe_says_otherwise(
    recipe: Recipe, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])
    weights = class_weights(labels, 3)
    batch = Batches(data.images, labels, np.arange(9), 9, weights)[0]
    assert np.bincount(labels, weights=batch[2]).tolist() == pytest.approx([3, 3, 3])
    monkeypatch.setattr(fitting, "class_weights", None)  # to call it would fail
    train(replace(recipe, class_weights=False), data.images, data.labels, data.splits, CLASSES)


def test_the_sample_spans_the_classes(trained: TrainedModel) -> None:
    predicted = keras.ops.convert_to_numpy(trained.model.predict_on_batch(trained.sample)).argmax(axis=1)
    assert set(predicted) == {0, 1, 2}
    assert 16 <= len(trained.sample) <= 32


def test_a_recipe_reads_back_what_it_wrote_and_nothing_else() -> None:
    recipe = RECIPES["compact-cnn"]
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    values = recipe.to_dict()
    for wrong in (values | {"droput": 0.5}, {name: value for name, value in values.items() if name != "epochs"}):
        with pytest.raises(ValueError, match="recipe differs from this code's in"):
            Recipe.from_dict(wrong)
    with pytest.raises(ValueError, match="learning_rate must be above 0"):
        replace(recipe, learning_rate=0.0)
    with pytest.raises(ValueError, match="rotation must be between 0 and 1"):
        Augmentation(rotation=-0.1)
    with pytest.raises(ValueError, match=r"known: .*compact-cnn"):
        recipe_named("alexnet")
