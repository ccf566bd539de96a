"""Temperature scaling: probabilities are calibrated, and the most likely class stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.evaluation.metrics import compute_metrics
from models.training.calibration import apply, temperature

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = ("A", "B", "C")


def truthful(n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities, and labels drawn with them."""
    random = np.random.default_rng(0)
    probabilities = random.dirichlet((0.5, 0.5, 0.5), n)
    labels = (probabilities.cumsum(axis=1) < random.random((n, 1))).sum(axis=1).clip(0, 2)
    return probabilities.astype(np.float32), labels


@pytest.mark.parametrize("distortion", [0.4, 1.0, 2.5])
def test_the_temperature_undoes_a_distortion(distortion: float) -> None:
    probabilities, labels = truthful(4000)
    distorted = apply(probabilities, distortion)
    assert temperature(distorted, labels) == pytest.approx(1 / distortion, rel=0.08)


def test_overconfident_probabilities_end_calibrated() -> None:
    probabilities, labels = truthful(4000)
    sharp = apply(probabilities, 0.3)
    mended = apply(sharp, temperature(sharp, labels))
    before, after = (compute_metrics(labels, given, CLASSES) for given in (sharp, mended))
    assert after["ece"] < 0.03
    assert before["ece"] > 0.1
    assert after["log_loss"] < before["log_loss"]
    assert after["accuracy"] == before["accuracy"]


def test_the_likeliest_class_stays_and_rows_sum_to_one() -> None:
    probabilities, _ = truthful(100)
    for t in (0.05, 1.0, 20.0):
        changed = apply(probabilities, t)
        assert (changed.argmax(axis=1) == probabilities.argmax(axis=1)).all()
        np.testing.assert_allclose(changed.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(apply(probabilities, 1.0), probabilities, atol=1e-6)


def test_few_validation_images_leave_the_probabilities_alone() -> None:
    probabilities, labels = truthful(29)
    assert temperature(probabilities, labels) == 1.0
    assert temperature(np.empty((0, 3), np.float32), np.empty(0, np.int64)) == 1.0
    assert apply(np.empty((0, 3), np.float32), 2.0).shape == (0, 3)


def test_certainties_of_zero_and_one_do_no_harm() -> None:
    labels = np.arange(60) % 3
    certain = np.eye(3, dtype=np.float32)[labels]
    certain[0] = certain[1]  # one certain error
    t = temperature(certain, labels)
    assert t > 1
    assert np.isfinite(apply(certain, t)).all()


def test_a_temperature_is_above_zero() -> None:
    with pytest.raises(ValueError, match="above 0"):
        apply(np.full((1, 3), 1 / 3), 0.0)


def test_validation_images_that_are_all_right_do_not_make_a_model_certain() -> None:
    labels = np.arange(60) % 3
    probabilities = np.full((60, 3), 0.2, np.float32)
    probabilities[np.arange(60), labels] = 0.6
    assert temperature(probabilities, labels) == pytest.approx(1 / 3, abs=0.01)
