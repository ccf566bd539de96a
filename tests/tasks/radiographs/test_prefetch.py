"""Prefetch: the same items in the same order, never too many ahead, and no thread left behind."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tasks.radiographs.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator


def workers() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


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


def test_no_more_are_drawn_ahead_than_asked_for() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1, 20):
            drawn.append(number)
            yield number

    with prefetch(items(), 2) as ahead:
        assert next(ahead) == 1
        time.sleep(0.1)
        assert drawn == [1, 2, 3], "one in use, two ahead"


def test_a_caller_that_stops_early_leaves_no_thread_and_draws_no_more() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            drawn.append(number)
            yield number

    with prefetch(items(), 1) as ahead:
        for item in ahead:
            if item == 3:
                break
    assert workers() == 0
    assert len(drawn) < 10


def test_drawing_goes_on_while_the_caller_works() -> None:
    def items() -> Iterator[int]:
        for number in range(5):
            time.sleep(0.05)
            yield number

    began = time.monotonic()
    with prefetch(items(), 1) as ahead:
        for _ in ahead:
            time.sleep(0.05)
    assert time.monotonic() - began < 0.45, "one after the other takes 0.5 s"


def test_drawing_begins_before_the_first_item_is_asked_for() -> None:
    drawn = threading.Event()

    def items() -> Iterator[int]:
        drawn.set()
        yield 1

    with prefetch(items(), 1):
        assert drawn.wait(5)
