"""Files that are there whole or not at all, folders that open for their owner only, and hashes."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


OWNER_ONLY: Final = 0o700


def sha256_of(path: Path) -> str:
    """Sha256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a file that is there whole or not at all."""
    beside = path.with_name(f".{path.name}")
    beside.write_text(json.dumps(value, allow_nan=False))
    beside.replace(path)


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write arrays by name into a file that ends in .npz and is there whole or not at all."""
    beside = path.with_name(f".{path.name}")
    np.savez(beside, allow_pickle=False, **arrays)  # the name ends in .npz, so NumPy adds nothing
    beside.replace(path)


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
