"""The gate's errors by simulation; `make soak` tries many more sets, `python -m tests.simulation.gate` all sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulation.gate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(("n", "sets"), [(200, 300), (1000, 200)])
def test_an_equal_challenger_is_promoted_in_at_most_one_case_in_twenty(
    n: int, sets: int, show: Callable[[str], None]
) -> None:
    found = simulate(n, gain=0.0, sets=sets, seed=11)
    show(f"{n} test images: an equal challenger is promoted in {found.whole} of {sets} cases")
    assert found.whole.value <= 0.05
    assert found.gain_alone.value <= 0.05
    assert 0.09 < found.discordant < 0.15
    assert found.enough.value > 0.8, "the figure is about sets that the gate decides on"


def test_a_challenger_that_gains_enough_is_found_and_one_that_loses_the_first_class_is_not() -> None:
    assert simulate(1000, gain=0.06, sets=40, seed=12).whole.value >= 0.8
    losing = simulate(1000, gain=0.1, losing=0.3, sets=40, seed=13)
    assert losing.whole.promoted == 0
