"""Heat maps over a picture: warm where they are hot, grey elsewhere, dark where the model does not see."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.plots.pictures import heat_overlay_on_thumbnail, with_heat_overlay
from models.radiographs.preprocessing import PreprocessingSpec, crop_slices, preprocess


def test_a_heat_overlay_is_warm_where_the_heat_is_and_grey_elsewhere() -> None:
    grey = np.full((40, 60), 100, np.uint8)
    heat = np.zeros((4, 6))
    heat[1, 1] = 1
    shown = with_heat_overlay(grey, heat)
    assert shown.shape == (40, 60, 3)
    blue, _, red = shown[15, 15].astype(int)
    assert red > blue + 50
    assert (shown[30:, 40:] == 100).all()


@pytest.mark.parametrize(("height", "width"), [(300, 200), (200, 300), (250, 250)])
def test_the_parts_of_a_radiograph_that_the_model_does_not_see_are_dark(height: int, width: int) -> None:
    spec = PreprocessingSpec(height=64, width=64)
    pixels = np.full((height, width), 200, np.uint8)
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    shown = cv2.imdecode(
        np.frombuffer(heat_overlay_on_thumbnail(jpeg, np.zeros((64, 64)), spec), np.uint8), cv2.IMREAD_GRAYSCALE
    )
    assert shown.shape == (height, width)
    blind = np.ones((height, width), bool)
    blind[crop_slices(height, width, spec)] = False
    inner = cv2.erode(blind.astype(np.uint8), np.ones((17, 17), np.uint8)).astype(bool)  # clear of JPEG's blocks
    assert (shown[inner] < 90).all()
    assert shown[height // 2, width // 2] > 190


def test_the_visible_region_is_the_part_that_is_preprocessed() -> None:
    spec = PreprocessingSpec(height=32, width=48)
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    assert (preprocess(pixels[crop_slices(200, 200, spec)], spec) == preprocess(pixels, spec)).all()
