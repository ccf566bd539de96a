"""Files that are there whole or not at all, folders that open for their owner only, and hashes."""

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
UNFINISHED: Final = ".unfinished-"
"""How the names of files and folders begin that are being written, or that a killed writer left."""


def sha256_of(path: Path) -> str:
    """Sha256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path, *, several_writers: bool = False) -> Iterator[Path]:
    """Write a file that is there whole or not at all, by a rename at the end.

    Args:
        path: what is written; a file that is there already is replaced.
        several_writers: others may write the same file at the same time. Where nobody does, the next writer overwrites
            what a killed one left; else it stays, under a name of its own, for the caller to remove.

    Yields:
        An empty file in the same folder, for its owner only, to write to. Its name ends as the path's does. It is
        removed where the block raises.
    """
    if several_writers:
        handle, name = tempfile.mkstemp(prefix=UNFINISHED, suffix=f"-{path.name}", dir=path.parent)
        os.close(handle)
        unfinished = Path(name)
    else:
        unfinished = path.with_name(f"{UNFINISHED}{path.name}")
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
    """Write a folder that is there whole or not at all, by a rename at the end.

    Args:
        path: what is written. It must not be there when the block ends.
        several_writers: as of `atomic_file`.

    Yields:
        An empty folder in the same folder, for its owner only, to write to. It is removed where the block raises.

    Raises:
        OSError: the path is there already: another writer was faster.
    """
    if several_writers:
        unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, suffix=f"-{path.name}", dir=path.parent))
    else:
        unfinished = path.with_name(f"{UNFINISHED}{path.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(OWNER_ONLY)
    try:
        yield unfinished
        unfinished.rename(path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a file that is there whole or not at all."""
    with atomic_file(path) as unfinished:
        unfinished.write_text(json.dumps(value, allow_nan=False))


def write_arrays(path: Path, *, several_writers: bool = False, **arrays: NDArray[Any]) -> None:
    """Write arrays by name into a file that ends in .npz and is there whole or not at all; see `atomic_file`."""
    with atomic_file(path, several_writers=several_writers) as unfinished:
        np.savez(unfinished, allow_pickle=False, **arrays)  # the name ends in .npz, so NumPy adds nothing


def private(*folders: Path) -> None:
    """Make folders that open for their owner only, and so do those above them that are made now."""
    for folder in folders:
        for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
            missing.mkdir(mode=OWNER_ONLY, exist_ok=True)


def read_json(path: Path, otherwise: Any) -> Any:
    """Read a file, or say something else where it is missing or no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return otherwise
