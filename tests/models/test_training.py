"""Promises of models/training.py and the architectures it builds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from models import architectures
from models.recipes import RECIPES, Augmentation
from models.training import TrainingError, _RandomShift, data_fingerprint, split_of, train

if TYPE_CHECKING:
    from models.training import Trained


def patients_in(split: str, n: int) -> list[str]:
    return list(islice((name for name in map("someone-{}".format, count()) if split_of(name) == split), n))


def test_a_patients_split_never_changes() -> None:
    names = ("patient-1", "patient-2", "patient-9", "Zoë")
    assert [split_of(name) for name in names] == ["validation", "train", "test", "validation"]


def test_about_70_15_15_percent_of_patients_fall_into_the_three_splits() -> None:
    shares = Counter(split_of(f"p{number}") for number in range(20_000))
    assert shares["train"] / 20_000 == pytest.approx(0.70, abs=0.01)
    assert shares["validation"] / 20_000 == pytest.approx(0.15, abs=0.01)
    assert shares["test"] / 20_000 == pytest.approx(0.15, abs=0.01)


def test_no_patient_is_in_two_splits(trained: Trained, data: Any) -> None:
    splits = trained.metrics["splits"].values()
    assert sum(split["images"] for split in splits) == len(data.images)
    assert sum(split["patients"] for split in splits) == len(set(data.patients))


def test_a_small_network_learns_what_can_be_seen(trained: Trained) -> None:
    assert trained.metrics["balanced_accuracy"] > 0.9
    assert trained.metrics["macro_auc"] > 0.95


def test_the_weights_of_the_best_epoch_are_kept(trained: Trained, data: Any) -> None:
    rows = np.flatnonzero([split_of(patient) == "validation" for patient in data.patients])
    probabilities = keras.ops.convert_to_numpy(trained.model.predict_on_batch(data.images[rows]))
    loss = -np.log(probabilities[np.arange(len(rows)), data.labels[rows]]).mean()
    assert loss == pytest.approx(min(epoch["val_loss"] for epoch in trained.history), rel=1e-3)


def test_the_kept_model_holds_no_augmentation(trained: Trained) -> None:
    assert not [layer.name for layer in trained.model.layers if "random" in layer.name.lower()]
    assert isinstance(trained.model.layers[1], keras.layers.Rescaling)


def test_augmentation_moves_images_but_never_mirrors_them() -> None:
    image = np.zeros((64, 64, 64, 1), np.float32)
    image[:, 20:44, 8:28] = 200.0  # the heart, on one side
    moved = keras.ops.convert_to_numpy(_RandomShift(Augmentation(share=0.8), seed=3)(image, training=True))
    left, right = moved[:, :, :32].sum(axis=(1, 2, 3)), moved[:, :, 32:].sum(axis=(1, 2, 3))
    assert (left > 10 * right).all()
    untouched = (np.abs(moved - image).max(axis=(1, 2, 3)) < 1e-3).mean()
    assert 0.05 < untouched < 0.4


def test_augmentation_leaves_images_alone_that_are_scored() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 1)).astype(np.float32)
    assert np.array_equal(keras.ops.convert_to_numpy(_RandomShift(Augmentation(), 0)(image, training=False)), image)


def test_a_class_without_a_training_image_is_an_error_that_names_it(trained: Trained, make_data: Any) -> None:
    data = make_data(60)
    without = data.labels != 2
    patients = [patient for patient, kept in zip(data.patients, without, strict=True) if kept]
    with pytest.raises(TrainingError, match="no training image of PNEUMONIA"):
        train(trained.recipe, data.images[without], data.labels[without], patients, trained.classes)


def test_images_of_another_shape_than_the_recipes_are_refused(make_data: Any) -> None:
    data = make_data(12)
    with pytest.raises(TrainingError, match=r"\(224, 224, 1\)"):
        train(RECIPES["compact-cnn"], data.images, data.labels, data.patients, ("A", "B", "C"))


def test_training_works_without_validation_and_test_patients(trained: Trained, make_data: Any) -> None:
    data = make_data(30)
    result = train(trained.recipe, data.images, data.labels, patients_in("train", 30), trained.classes, epochs=1)
    assert result.metrics["n"] == 0
    assert result.metrics["accuracy"] is None
    assert result.settings["best_by"] == "loss"
    assert len(result.sample) == 24


def test_training_ends_within_its_time_and_tells_each_epoch(trained: Trained, data: Any) -> None:
    told: list[int] = []
    result = train(
        replace(trained.recipe, epochs=50),
        data.images,
        data.labels,
        data.patients,
        trained.classes,
        time_budget_s=0.0,
        on_epoch=lambda number, figures: told.append(number) if "loss" in figures else None,
    )
    assert told == [1]
    assert result.settings["epochs_run"] == 1


def test_the_sample_spans_the_classes(trained: Trained) -> None:
    predicted = keras.ops.convert_to_numpy(trained.model.predict_on_batch(trained.sample)).argmax(axis=1)
    assert set(predicted) == {0, 1, 2}
    assert 16 <= len(trained.sample) <= 32


def test_the_data_fingerprint_does_not_depend_on_order_but_on_labels() -> None:
    one = data_fingerprint(["a", "b"], ["X", "Y"])
    assert one == data_fingerprint(["b", "a"], ["Y", "X"])
    assert one != data_fingerprint(["a", "b"], ["Y", "X"])


def test_the_compact_cnn_is_compact_and_takes_bytes_as_well_as_floats() -> None:
    model = architectures.build("compact_cnn", (224, 224, 1), 3)
    assert 1.0e6 < model.count_params() < 1.4e6
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 1), dtype=np.uint8)
    from_bytes, from_floats = (
        keras.ops.convert_to_numpy(model(images.astype(kind), training=False)) for kind in ("uint8", "float32")
    )
    assert np.allclose(from_bytes, from_floats)
    assert from_bytes.dtype == np.float32


def test_the_same_seed_gives_the_same_initial_weights() -> None:
    one, two, other = (architectures.build("compact_cnn", (32, 32, 1), 2, seed).get_weights() for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_unknown_architecture_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="compact_cnn"):
        architectures.build("resnet", (32, 32, 1), 2)
