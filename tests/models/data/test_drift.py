"""Drift: what counts as drift between two windows of images, and how often there are false alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.data.drift import MEASURES, Finding, compare
from tests.simulation.drift import THRESHOLD, Window, window

if TYPE_CHECKING:
    from collections.abc import Callable


def drifted(found: tuple[Finding, ...]) -> list[str]:
    return [one.measure.name for one in found if one.drifted]


def look(before: Window, now: Window, *, threshold: float = THRESHOLD, least: int = 20) -> tuple[Finding, ...]:
    return compare(before, now, threshold=threshold, least=least)


def test_all_measures_are_compared_and_a_window_is_no_distance_from_itself() -> None:
    found = look(window(200, 1), window(200, 1))
    assert [one.measure for one in found] == list(MEASURES)
    assert {(one.value, one.p_value, one.drifted) for one in found} == {(0.0, 1.0, False)}
    assert {(one.reference_images, one.current_images) for one in found} == {(200, 200)}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"brighter": 0.1}, ["mean"]),
        ({"brighter": -0.1}, ["mean"]),
        ({"shares": (0.7, 0.2, 0.1)}, ["predicted_class"]),
        ({"scanned": 0.5}, ["bit_depth", "channels", "format"]),
    ],
    ids=["brighter by 0.1", "darker by 0.1", "COVID-19 doubled from 35 %", "five times as many scanned films"],
)
@pytest.mark.parametrize("size", [300, 1000])
def test_a_relevant_shift_is_found_and_nothing_else(changed: dict[str, Any], expected: list[str], size: int) -> None:
    assert drifted(look(window(1000, 2), window(size, 3, **changed))) == expected


def test_equal_windows_rarely_give_a_false_alarm(show: Callable[[str], None]) -> None:
    """Neither condition is enough alone; shows how often each one fires for equal and almost equal windows.

    `make soak` compares many more. The last row's images are brighter by 0.02, an invisible difference.
    """
    told = ["", "share of nights called drift, one of 11 measures is enough:"]
    told += ["windows   brighter by   distance >= 0.25   p < 0.01 (Bonferroni)   both"]
    for size, nights, brighter in ((30, 40, 0.0), (200, 40, 0.0), (1000, 20, 0.0), (4000, 6, 0.02)):
        found = [look(window(size, 2 * seed), window(size, 2 * seed + 1, brighter=brighter)) for seed in range(nights)]
        far = np.mean([any(one.value >= THRESHOLD for one in night) for night in found])
        significant = np.mean([any(one.p_value < 0.01 for one in night) for night in found])
        both = np.mean([bool(drifted(night)) for night in found])
        told.append(f"{size:>7,}   {brighter:>11}   {far:>16.1%}   {significant:>21.1%}   {both:>4.1%}")
        assert both <= 0.02
        if size == 30:
            assert far > 0.5, "small windows make everything distant"
        if brighter:
            assert significant > 0.9, "large windows make everything significant"
        else:
            assert significant <= 0.05  # 1 % by Bonferroni, with room for the small number of nights
    show("\n".join(told))


def test_from_which_share_on_a_doubled_class_is_found(show: Callable[[str], None]) -> None:
    """The Jensen-Shannon distance of shares a, 1 - a and 2a, 1 - 2a: what the default threshold means for classes."""
    told, values = ["", "a class's share doubles   distance"], {}
    for share in (0.1, 0.2, 0.3, 0.4):
        before, now = (
            {"predicted_class": ["A"] * round(1000 * part) + ["B"] * round(1000 * (1 - part))}
            for part in (share, 2 * share)
        )
        (one,) = look(before, now)
        values[share] = one.drifted
        told.append(f"{share:.0%} to {2 * share:.0%}   {one.value:.3f}{'   drift' if one.drifted else ''}")
    show("\n".join(told))
    assert values == {0.1: False, 0.2: False, 0.3: True, 0.4: True}


def test_the_distance_of_a_new_format_or_class_grows_with_its_frequency() -> None:
    before, now = {"format": ["PNG"] * 300}, {"format": ["PNG"] * 150 + ["BMP"] * 150}
    (one,) = look(before, now)
    assert one.drifted
    assert 0.5 < one.value < 0.6
    assert (one.before, one.now) == ({"BMP": 0.0, "PNG": 1.0}, {"BMP": 0.5, "PNG": 0.5})
    (one,) = look(before, {"format": [None] * 300})
    assert (one.value, one.now) == (1.0, {"PNG": 0.0, "unknown": 1.0})


def test_unknown_numbers_are_left_out_and_a_measure_with_too_few_is_not_compared() -> None:
    before = {"mean": [0.5, 0.6, None] * 100, "std": [None] * 299 + [0.2], "channels": [1] * 300}
    found = look(before, before, least=200)
    assert [(one.measure.name, one.reference_images) for one in found] == [("mean", 200), ("channels", 300)]
    assert look(before, before, least=201)[0].measure.name == "channels"
    assert look({}, {}) == ()
