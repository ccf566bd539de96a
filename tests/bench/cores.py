"""Which processor cores run what: the servers on some, the night and its limits on the others."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import psutil

SERVERS_SHARE = 4
"""One core in so many is the servers', at least one."""


def split() -> tuple[set[int], set[int]]:
    """Return the night's cores and the servers'; the same single one where there is no other."""
    usable = sorted(os.sched_getaffinity(0))
    servers = max(1, len(usable) // SERVERS_SHARE)
    return set(usable[:-servers] or usable), set(usable[-servers:])


def place(processes: Iterable[psutil.Process], some: set[int]) -> None:
    """Keep all threads of these processes on some cores; what they start later inherits it."""
    for process in processes:
        with suppress(OSError):  # it has ended
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                with suppress(OSError):
                    os.sched_setaffinity(int(thread.name), some)


@contextmanager
def only(some: set[int]) -> Iterator[None]:
    """Run what is inside, and the processes and threads started there, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, some)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
