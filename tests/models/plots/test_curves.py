"""Plots: drawings that fit into any page, light or dark, and pictures that browsers can show."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest

from models.plots import curves, pictures

NASTY = "<script>alert(1)</script> & $x_1$"
BINS = [{"confidence": 0.4, "accuracy": 0.5, "n": 3}, {"confidence": 0.9, "accuracy": 0.8, "n": 20}]
HISTORY = [{"loss": 1.0, "val_loss": 1.1}, {"loss": 0.5, "val_loss": None}, {"loss": math.nan}]


def forest(name: str = "forest", label: str = "accuracy") -> bytes:
    rows = [
        curves.Difference(label, 0.02, 0.01, 0.03, emphasised=True),
        curves.Difference("sensitivity", -0.01, -0.03, 0.01),
    ]
    return curves.forest_plot(rows, f"differences in {label}", "challenger minus champion", name=name)


DRAWINGS = {
    "forest": forest(),
    "roc": curves.roc_plot([curves.RocCurve("champion", 0, [[0, 0], [0.1, 0.8], [1, 1]], 0.9)], "ROC"),
    "reliability": curves.reliability_plot(BINS, 1, "reliability"),
    "learning": curves.learning_curve(HISTORY, "loss", 2, "loss over the epochs"),
}


@pytest.mark.parametrize("drawing", DRAWINGS.values(), ids=list(DRAWINGS))
def test_a_drawing_is_one_element_with_alternative_text(drawing: bytes) -> None:
    element = ET.fromstring(drawing)  # noqa: S314 - our own
    assert element.tag.endswith("svg")
    assert element.get("role") == "img"
    assert element.get("aria-label")
    text = drawing.decode()
    assert not re.search(r"<(script|style|image|!DOCTYPE)|@import|url\((?!#)", text)
    assert re.findall(r'href="([^"#]+)', text) == []


@pytest.mark.parametrize("drawing", DRAWINGS.values(), ids=list(DRAWINGS))
def test_every_colour_of_a_drawing_is_the_pages_own(drawing: bytes) -> None:
    text = drawing.decode()
    bare = re.sub(r"var\(--[a-z0-9-]+, #[0-9a-f]{6}\)", "", text)
    assert "var(--" in text
    assert re.findall(r"(?:fill|stroke): (#[0-9a-f]{3,6})", bare) == []


def test_drawings_with_different_names_share_no_id_and_equal_drawings_have_equal_bytes() -> None:
    ids = [set(re.findall(r'\bid="([^"]+)"', forest(name).decode())) for name in ("one", "two")]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert forest() == forest()


def test_foreign_text_is_escaped() -> None:
    drawing = forest(label=NASTY).decode()
    assert "<script" not in drawing
    texts = "".join(ET.fromstring(drawing).itertext())  # noqa: S314 - our own
    assert NASTY in texts


def test_an_interval_that_contains_zero_has_an_open_marker() -> None:
    def fills(low: float) -> int:
        drawing = curves.forest_plot([curves.Difference("accuracy", 0.02, low, 0.03)], "a", "b").decode()
        return len(re.findall(r"<use [^>]*fill: var\(--series-1", drawing))

    assert fills(low=0.01) > fills(low=-0.01) == 0


def test_the_numbers_next_to_a_forest_plot_have_true_minus_signs() -> None:
    assert "−0.010  (−0.030 to +0.010)" in forest().decode()  # noqa: RUF001 - as people read it


@pytest.mark.parametrize("history", [[], [{}], HISTORY, [{"loss": "oops", "val_loss": math.inf}]])
def test_epochs_without_numbers_leave_gaps_and_break_nothing(history: list[dict[str, object]]) -> None:
    assert curves.learning_curve(history, "loss", 0, "loss").startswith(b"<svg")


def test_a_plot_without_data_is_drawn_empty() -> None:
    assert curves.forest_plot([], "a", "b").startswith(b"<svg")
    assert curves.reliability_plot([], 0, "a").startswith(b"<svg")
    assert curves.roc_plot([curves.RocCurve("champion", 7, [], None)], "a").startswith(b"<svg")


@pytest.mark.parametrize("shape", [(600, 400, 1), (600, 400, 3), (600, 400)])
def test_a_radiograph_jpeg_is_small_and_keeps_its_aspect_ratio(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 120, np.uint8)
    small = cv2.imdecode(np.frombuffer(pictures.radiograph_jpeg(image), np.uint8), cv2.IMREAD_UNCHANGED)
    assert small.shape == (pictures.LONGER_SIDE, pictures.LONGER_SIDE * 2 // 3)
    assert abs(int(small.mean()) - 120) <= 1


def test_a_heat_map_of_any_size_colours_its_own_place_only() -> None:
    image, heat = np.full((64, 64, 1), 100, np.uint8), np.zeros((7, 7))
    heat[0, 0] = 1
    shown = cv2.imdecode(np.frombuffer(pictures.heat_overlay_jpeg(image, heat), np.uint8), cv2.IMREAD_COLOR).astype(int)
    blue, _, red = shown[2, 2]
    assert red - blue > 40
    assert np.abs(shown[40:, 40:] - 100).max() <= 6
