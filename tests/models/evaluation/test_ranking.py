"""Which differences between many models are significant."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.ranking import SIGNIFICANCE_LEVEL, pairwise_p_values


def test_a_real_difference_is_significant_and_an_even_one_is_not() -> None:
    random = np.random.default_rng(1)
    good, equal, bad = (random.random(400) < share for share in (0.9, 0.9, 0.7))
    found = pairwise_p_values(np.stack([good, equal, bad]), [f"p{row}" for row in range(400)])
    assert np.array_equal(found, found.T)
    assert np.diag(found).tolist() == [1, 1, 1]
    assert found[0, 2] < SIGNIFICANCE_LEVEL
    assert found[0, 1] > SIGNIFICANCE_LEVEL
    assert pairwise_p_values(np.stack([good, good]), ["p"] * 400)[0, 1] == 1


def test_many_images_of_few_patients_are_little_evidence() -> None:
    """Twenty images of each of twelve patients, all right or all wrong together."""
    one, other = np.repeat([True] * 8 + [False] * 4, 20), np.repeat([True] * 4 + [False] * 8, 20)
    images = [f"p{row}" for row in range(240)]
    people = [f"p{row // 20}" for row in range(240)]
    assert pairwise_p_values(np.stack([one, other]), images)[0, 1] < 0.001
    assert pairwise_p_values(np.stack([one, other]), people)[0, 1] > SIGNIFICANCE_LEVEL


def test_equal_models_are_rarely_called_different_however_many_there_are() -> None:
    """How rarely over many seeds: `make soak`."""
    random = np.random.default_rng(7)
    for seed in range(3):
        right = random.random((4, 120)) < 0.8
        found = pairwise_p_values(right, [f"p{row // 2}" for row in range(120)], seed)
        assert (found >= SIGNIFICANCE_LEVEL).all()


def test_a_clear_winner_is_significant_however_many_models_there_are() -> None:
    random = np.random.default_rng(3)
    right = np.stack([random.random(600) < share for share in (0.95, *[0.7] * 28)])
    found = pairwise_p_values(right, [f"p{row // 2}" for row in range(600)])
    assert (found[0, 1:] < SIGNIFICANCE_LEVEL / 10).all()
    assert (found[1:, 1:] > SIGNIFICANCE_LEVEL).all()


@pytest.mark.parametrize("models", [1, 2])
def test_the_smallest_tournaments_have_p_values_too(models: int) -> None:
    assert pairwise_p_values(np.ones((models, 3), bool), ["a", "b", "c"]).tolist() == np.ones((models, models)).tolist()
