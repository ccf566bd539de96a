"""Prefetch: the same items in the same order, never too many ahead, and no thread left behind."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tasks.radiographs.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 30
"""After which a test that hangs fails."""


def workers() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


class Drawn:
    """Numbers from 1 that are counted as they are drawn."""

    def __init__(self, end: int) -> None:
        self.count, self._end, self._more = 0, end, threading.Condition()

    def __iter__(self) -> Iterator[int]:
        for number in range(1, self._end):
            with self._more:
                self.count = number
                self._more.notify_all()
            yield number

    def reach(self, count: int) -> bool:
        """Wait until so many are drawn; False where that takes too long."""
        with self._more:
            return self._more.wait_for(lambda: self.count >= count, PATIENCE_S)


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_items_come_whole_and_in_order(depth: int) -> None:
    for items in (list(range(50)), []):
        with prefetch(items, depth) as ahead:
            assert list(ahead) == items
    assert workers() == 0


def test_none_is_an_item_like_any_other() -> None:
    with prefetch([None, 0, None], 2) as ahead:
        assert list(ahead) == [None, 0, None]


def test_an_error_comes_at_its_place_in_the_order() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third breaks")

    with prefetch(items(), 5) as ahead:
        assert [next(ahead), next(ahead)] == [1, 2]
        with pytest.raises(ValueError, match="third"):
            next(ahead)
    assert workers() == 0


def test_as_many_are_drawn_ahead_as_asked_for_and_no_more() -> None:
    drawn = Drawn(end=20)
    with prefetch(drawn, 2) as ahead:
        for item in ahead:
            assert drawn.reach(min(item + 2, 19)), "drawing goes on while the caller works"
            time.sleep(0.001)  # in which a thread that draws too many would
            assert drawn.count <= item + 2, "one in use, two ahead"


def test_a_caller_that_stops_early_leaves_no_thread_and_draws_no_more() -> None:
    drawn = Drawn(end=1000)
    with prefetch(drawn, 1) as ahead:
        for item in ahead:
            if item == 3:
                break
    assert workers() == 0
    assert drawn.count <= 5


def test_drawing_begins_before_the_first_item_is_asked_for() -> None:
    drawn = threading.Event()

    def items() -> Iterator[int]:
        drawn.set()
        yield 1

    with prefetch(items(), 1):
        assert drawn.wait(PATIENCE_S)
