"""Prefetch: produce the next items in a thread while the caller uses the current one."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")


class _End:
    """Marks the end of the items and carries the error that ended them, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def prefetch(items: Iterable[Item], depth: int) -> Iterator[Iterator[Item]]:
    """Draw the items in a thread that starts when the context is entered, and yield them in order.

    At most `depth` items are drawn ahead of the current one, including the one in progress. An error while drawing is
    raised in its place in the order. If the context is left early, the thread ends after the item in progress.
    """
    drawn: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()
    room = threading.Semaphore(depth)
    stop = threading.Event()

    def work() -> None:
        try:
            source = iter(items)
            while True:
                room.acquire()
                if stop.is_set():
                    return
                drawn.put(next(source))
        except StopIteration:
            drawn.put(_End())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            drawn.put(_End(error))

    def in_order() -> Iterator[Item]:
        while not isinstance(entry := drawn.get(), _End):
            room.release()
            yield entry
        if entry.error is not None:
            raise entry.error

    worker = threading.Thread(target=work, name="prefetch", daemon=True)
    worker.start()
    try:
        yield in_order()
    finally:
        stop.set()
        room.release()
        worker.join()
