"""What is costly to make and the same for all processes of tests is made by the first that wants it."""

from __future__ import annotations

import fcntl
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def once(shared: Path, name: str, make: Callable[[Path], object]) -> Path:
    """A folder for all processes, which none may change.

    Args:
        shared: the folder that they share.
        name: of this folder there.
        make: fills an empty folder, which is renamed afterwards.
    """
    folder, unfinished = shared / name, shared / f"{name}.unfinished"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder
