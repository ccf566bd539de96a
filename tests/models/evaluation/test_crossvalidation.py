"""Cross-validation: no patient is on both sides of a fold, and each image is predicted once."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.crossvalidation import fold_splits, hog_features, linear_baseline, pooled_predictions

N = 240
LABELS = np.arange(N) // 2 % 3
PATIENTS = [f"p{row // 4}" for row in range(N)]


def test_every_image_is_held_out_once_and_no_patient_is_on_both_sides() -> None:
    held_out = np.zeros(N, int)
    for split in fold_splits(LABELS, PATIENTS, 5, seed=1):
        held_out += split == "test"
        for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
            theirs = [{PATIENTS[row] for row in np.flatnonzero(split == name)} for name in (one, other)]
            assert theirs[0].isdisjoint(theirs[1])
        assert set(split) == {"train", "validation", "test"}
    assert (held_out == 1).all()


def test_the_same_seed_gives_the_same_folds_and_another_seed_gives_others() -> None:
    one, same, other = (np.stack(list(fold_splits(LABELS, PATIENTS, 5, seed))) for seed in (3, 3, 4))
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize(("people", "count"), [(3, 3), (4, 2), (5, 5), (8, 5)])
def test_few_patients_of_each_class_are_enough_to_learn_from_and_to_validate(people: int, count: int) -> None:
    labels = np.arange(3).repeat(people)
    for seed in range(10):
        for split in fold_splits(labels, [str(row) for row in range(len(labels))], count, seed):
            assert set(split) == {"train", "validation", "test"}
            assert set(labels[split == "train"]) == {0, 1, 2}


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_a_class_that_is_held_out_completely_does_not_stop_the_fold() -> None:
    labels = np.array([0] * 6 + [1] * 6 + [2])
    split = next(one for one in fold_splits(labels, [str(row) for row in range(13)], 2, 0) if one[12] == "test")
    assert {0, 1} == set(labels[split == "train"]) == set(labels[split == "validation"])


def test_a_baseline_predicts_only_rows_that_it_did_not_learn_from() -> None:
    def answer(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        assert {PATIENTS[row] for row in train}.isdisjoint({PATIENTS[row] for row in test})
        return np.eye(3, dtype=np.float32)[LABELS[test]]

    assert (pooled_predictions(answer, LABELS, PATIENTS).argmax(axis=1) == LABELS).all()


def test_a_linear_model_on_oriented_gradients_sees_which_way_edges_run() -> None:
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(64) / 3)
    flat = [np.tile(wave, (64, 1)), np.tile(wave[:, None], (1, 64))]
    labels = np.arange(40) % 2
    images = np.stack([np.clip(128 + 90 * flat[label] + rng.normal(0, 20, (64, 64)), 0, 255) for label in labels])
    features = hog_features(images.astype(np.uint8)[..., None])
    rows = np.arange(40)
    answers = linear_baseline(features, labels, rows[:20], rows[20:])
    assert (answers.argmax(axis=1) == labels[20:]).all()
