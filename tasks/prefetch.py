"""Prefetch: make the next items in a thread while the caller uses the last one."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")
POLL_S = 0.2


class _End:
    """Marks the end of the items, and carries the error that ended them, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def prefetch(items: Iterable[Item], depth: int) -> Iterator[Iterator[Item]]:
    """Draw the items in a thread, from when the context is entered; inside, they come in order.

    At most `depth` wait in a bounded queue. An error while drawing is raised at its place in the order. When the
    context is left early, the thread ends after the item in hand.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: Item | _End) -> None:
        while not stop.is_set():
            try:
                return waiting.put(entry, timeout=POLL_S)
            except queue.Full:
                continue
        return None

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(_End())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            put(_End(error))

    worker = threading.Thread(target=work, name="prefetch", daemon=True)
    worker.start()
    try:
        yield _until_end(waiting)
    finally:
        stop.set()
        worker.join()


def _until_end(waiting: queue.Queue[Item | _End]) -> Iterator[Item]:
    while not isinstance(entry := waiting.get(), _End):
        yield entry
    if entry.error is not None:
        raise entry.error
