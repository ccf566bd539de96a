"""Files: atomic writes, private folders, hashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


OWNER_ONLY: Final = 0o700
OWNER_ONLY_FILE: Final = 0o600
UNFINISHED_PREFIX: Final = ".unfinished-"
"""Prefix of files and folders that are being written, or that a killed writer left behind."""


def sha256_of(path: Path) -> str:
    """Sha256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path, *, several_writers: bool = False) -> Iterator[Path]:
    """Write a file atomically, by a rename at the end.

    Args:
        path: the file to write; an existing file is replaced.
        several_writers: whether others may write the same file at the same time. Each writer then uses a unique
            temporary name, and the caller must remove what a killed writer left. Otherwise the next writer overwrites
            it.

    Yields:
        An empty, private file in the same folder to write to. Its name has the same ending as the path. It is removed
        if the block raises.
    """
    if several_writers:
        handle, name = tempfile.mkstemp(prefix=UNFINISHED_PREFIX, suffix=f"-{path.name}", dir=path.parent)
        os.close(handle)
        unfinished = Path(name)
    else:
        unfinished = path.with_name(f"{UNFINISHED_PREFIX}{path.name}")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(OWNER_ONLY_FILE)
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path, *, several_writers: bool = False) -> Iterator[Path]:
    """Write a folder atomically, by a rename at the end.

    Args:
        path: the folder to write. It must not exist when the block ends.
        several_writers: as for `atomic_file`.

    Yields:
        An empty, private folder next to the path to write to. It is removed if the block raises.

    Raises:
        OSError: the path already exists: another writer was faster.
    """
    if several_writers:
        unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, suffix=f"-{path.name}", dir=path.parent))
    else:
        unfinished = path.with_name(f"{UNFINISHED_PREFIX}{path.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(OWNER_ONLY)
    try:
        yield unfinished
        unfinished.rename(path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically."""
    with atomic_file(path) as unfinished:
        unfinished.write_text(json.dumps(value, allow_nan=False))


def write_arrays(path: Path, *, several_writers: bool = False, **arrays: NDArray[Any]) -> None:
    """Write named arrays into an .npz file, atomically; see `atomic_file`."""
    with atomic_file(path, several_writers=several_writers) as unfinished:
        np.savez(unfinished, allow_pickle=False, **arrays)  # NumPy appends .npz only if the name lacks it


def make_private_folders(*folders: Path) -> None:
    """Create folders, and missing parents, that only their owner can open."""
    for folder in folders:
        for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
            missing.mkdir(mode=OWNER_ONLY, exist_ok=True)


def read_json(path: Path, default: Any) -> Any:
    """Read a JSON file; return `default` if it is missing or not valid JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return default
