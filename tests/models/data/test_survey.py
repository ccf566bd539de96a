"""The survey of images: shares sum to one, all bit depths have one scale, and each image has the same weight."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from models.data.survey import GREY_BINS, ClassSums, distribution_overlap, grey_shares, survey_image
from models.plots.data import (
    Group,
    box_plot,
    class_balance,
    grey_distributions,
    highest_share,
    mean_difference_jpeg,
    size_scatter,
)
from models.radiographs.histogram import histogram

RAMP = np.tile(np.arange(256, dtype=np.uint8), (256, 1))


def test_grey_shares_add_up_and_a_film_of_12_bits_looks_like_one_of_8() -> None:
    eight = grey_shares(histogram(RAMP))
    twelve = grey_shares(histogram(RAMP.astype(np.uint16) * 16))
    assert eight.shape == twelve.shape == (GREY_BINS,)
    assert eight.sum() == pytest.approx(1)
    assert twelve.sum() == pytest.approx(1)
    assert distribution_overlap(eight, twelve) > 0.97


def test_distributions_overlap_fully_not_at_all_or_by_half() -> None:
    one, other = np.zeros(GREY_BINS), np.zeros(GREY_BINS)
    one[:32], other[16:48] = 1, 1
    assert (distribution_overlap(one, one), distribution_overlap(one, one[::-1]), distribution_overlap(one, other)) == (
        1,
        0,
        0.5,
    )


def test_a_large_image_counts_as_much_as_a_small_one() -> None:
    sums = ClassSums()
    for side, turned in ((300, False), (900, True)):
        half = np.zeros((side, side), np.uint8)
        half[:, side // 2 :] = 200
        sums.add(survey_image(half[:, ::-1] if turned else half))
    assert sums.n == 2
    np.testing.assert_allclose(sums.picture[:, [3, -3]] / 2, 127.5)
    assert sums.original.sum() == pytest.approx(2)


def test_lighter_than_the_mean_is_orange_and_darker_is_purple() -> None:
    flat = np.full((40, 40), 100.0)
    step = flat.copy()
    step[:, :20], step[:, 20:] = 60, 140
    seen = cv2.imdecode(np.frombuffer(mean_difference_jpeg(step, flat, 40), np.uint8), cv2.IMREAD_COLOR)
    (blue, _, red), (other_blue, _, other_red) = seen[150, 50].astype(int), seen[150, 230].astype(int)
    assert blue > red
    assert other_red > other_blue


def test_every_colour_of_a_drawing_is_the_pages_own() -> None:
    groups = [Group(f"class {place}", place, [1.0, 2.0, 4.0], [3.0, 1.0, 2.0]) for place in (-1, 0, 1, 7)]
    groups.append(Group("none", 2, [], []))
    drawings = [
        class_balance([Group("A", 0, [3], [2]), Group("B", 1, [5], [1])], "bars"), size_scatter(groups[:-1], "sizes"),
        box_plot(groups, "years", "ages", "ages", wide=True), box_plot(groups, "years", "ages", "ages-2"),
    ]  # fmt: skip
    for drawing in drawings:
        bare = re.sub(r"var\(--[a-z0-9-]+, #[0-9a-f]{6}\)", "", drawing.decode())
        assert re.findall(r"(?:fill|stroke): (#[0-9a-f]{3,6})", bare) == []
        assert 'role="img" aria-label=' in bare
    assert b"none known" in drawings[2]


def test_black_borders_do_not_flatten_a_drawing() -> None:
    shares = [0.6, *[0.4 / (GREY_BINS - 1)] * (GREY_BINS - 1)]
    assert highest_share([shares]) == pytest.approx(0.4 / (GREY_BINS - 1))
    drawing = grey_distributions([Group("$x_1$ <b>", 6, shares)], highest_share([shares]), "grey", "grey").decode()
    assert "<b>" not in drawing
    assert "$x_1$" in drawing
