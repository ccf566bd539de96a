"""Preprocessing: one specification, one input, and nothing of the file left in it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.phantoms.phantom import draw_phantom
from models.radiographs.preprocessing import PreprocessingSpec, preprocess

SPEC = PreprocessingSpec()


def picture(size: tuple[int, int] = (700, 700)) -> np.ndarray:
    return draw_phantom("PNEUMONIA", 5, 0, seed=1, size=size)


def eight(brightness: np.ndarray) -> np.ndarray:
    return np.rint(brightness * 255).astype(np.uint8)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_a_specifications_hash_is_the_same_on_every_machine_and_day() -> None:
    """Written on each row: a change of this value is a new kind of preprocessing, not a refactoring."""
    assert SPEC.hash == "3986d0c79018aac3"
    assert PreprocessingSpec.from_dict(dict(reversed(SPEC.to_dict().items()))).hash == SPEC.hash


@pytest.mark.parametrize(
    "change",
    [
        {"height": 225}, {"width": 225}, {"channels": 3}, {"crop": "none"}, {"low_percentile": 1.0},
        {"high_percentile": 99.0}, {"equalisation": "clahe"}, {"equalisation": "local"}, {"crop": "chest"},
    ],
)  # fmt: skip
def test_each_field_is_part_of_the_hash_and_of_the_stored_form(change: dict) -> None:
    changed = PreprocessingSpec(**change)
    assert changed.hash != SPEC.hash
    assert PreprocessingSpec.from_dict(changed.to_dict()) == changed


@pytest.mark.parametrize("change", ["unknown", "missing"])
def test_a_stored_form_that_this_code_does_not_know_is_refused(change: str) -> None:
    stored = SPEC.to_dict()
    if change == "unknown":
        stored["gamma"] = 1.2
    else:
        del stored["crop"]
    with pytest.raises(ValueError, match=r"gamma|crop"):
        PreprocessingSpec.from_dict(stored)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(700, 700), (64, 900), (900, 64), (223, 225), (1, 1), (1, 500), (224, 224)])
@pytest.mark.parametrize("change", [{}, {"channels": 3}, {"crop": "none"}, {"equalisation": "clahe"}])
def test_any_picture_becomes_the_shape_asked_for(dtype: type, size: tuple[int, int], change: dict) -> None:
    spec = PreprocessingSpec(height=64, width=48, **change)
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, size, dtype, endpoint=True)
    made = preprocess(pixels, spec)
    assert (made.shape, made.dtype) == (spec.shape, np.uint8)
    assert made.flags.c_contiguous
    assert all(np.array_equal(made[..., 0], made[..., channel]) for channel in range(spec.channels))


@pytest.mark.parametrize("top", [65535, 4095, 1023])
def test_bit_depth_leaves_no_trace(top: int) -> None:
    deep = np.rint(picture() * top).astype(np.uint16)
    assert difference(preprocess(deep, SPEC), preprocess(eight(picture()), SPEC)) < 1


@pytest.mark.parametrize("size", [(448, 448), (900, 900), (1400, 1400)])
def test_size_leaves_no_trace(size: tuple[int, int]) -> None:
    large = eight(picture((1400, 1400)))
    smaller = cv2.resize(large, size, interpolation=cv2.INTER_AREA)
    assert difference(preprocess(smaller, SPEC), preprocess(large, SPEC)) < 2


def test_exposure_leaves_no_trace() -> None:
    dark = eight(picture() * 0.5 + 0.2)
    assert difference(preprocess(dark, SPEC), preprocess(eight(picture()), SPEC)) < 2.5


def test_nothing_is_distorted_and_the_centre_is_kept() -> None:
    wide = np.zeros((300, 500), np.uint8)
    cv2.circle(wide, (250, 150), 90, 255, -1)
    made = preprocess(wide, PreprocessingSpec(height=100, width=100, low_percentile=0, high_percentile=100))[..., 0]
    rows, columns = np.nonzero(made > 127)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1
    assert abs(rows.mean() - 49.5) < 1
    assert abs(columns.mean() - 49.5) < 1


def test_outliers_do_not_set_the_range() -> None:
    dotted = eight(picture() * 0.6 + 0.1)
    marked = dotted.copy()
    marked[300:310, 300:310], marked[400:405, 400:405] = 255, 0
    made, plain = preprocess(marked, SPEC), preprocess(dotted, SPEC)
    assert difference(made, plain) < 2


@pytest.mark.parametrize("level", [0, 128, 255])
def test_one_shade_all_over_stays_one_shade(level: int) -> None:
    assert np.ptp(preprocess(np.full((300, 300), level, np.uint8), SPEC)) == 0


def test_the_pixels_given_are_not_changed() -> None:
    pixels = eight(picture())
    before = pixels.copy()
    preprocess(pixels, PreprocessingSpec(equalisation="clahe"))
    assert np.array_equal(pixels, before)


def test_local_equalisation_is_that_of_the_report() -> None:
    from skimage.filters import rank
    from skimage.morphology import disk

    spec = PreprocessingSpec(height=128, width=128)
    plain = preprocess(eight(picture()), spec)[..., 0]
    found = preprocess(eight(picture()), replace(spec, equalisation="local", channels=3))
    assert found.shape == (128, 128, 3)
    assert np.array_equal(found[..., 1], rank.equalize(plain, disk(70)))
    assert difference(found[..., 1], plain) > 5


def test_the_chest_is_the_middle_of_the_picture() -> None:
    pixels = np.full((500, 1000), 200, np.uint8)  # 400 x 400 of its middle are the chest
    pixels[50:450, 300:700] = np.linspace(40, 100, 400, dtype=np.uint8)
    found = preprocess(pixels, PreprocessingSpec(height=100, width=100, crop="chest", high_percentile=100.0))
    assert found.max() == 255
    assert found[:, -1].min() > 240, "the chest's own brightest column, not what lies outside"
    assert found[:, 0].max() < 15


def test_a_specification_with_a_word_that_this_code_does_not_know_is_refused() -> None:
    for change in ({"crop": "lungs"}, {"equalisation": "global"}):
        with pytest.raises(ValueError, match="must be one of"):
            PreprocessingSpec.from_dict(SPEC.to_dict() | change)
