"""Folders in memory: making and dropping hundreds of databases there takes a fraction of the time."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder with a name of its own is made there
ROOM = 2 * 1024**3
"""Bytes that must be free: containers often have very little there."""


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A folder that is gone afterwards; on disk where there is no room in memory."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    with tempfile.TemporaryDirectory(prefix="cxr-tests-", dir=MEMORY if roomy else None) as folder:
        yield Path(folder)
