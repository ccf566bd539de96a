"""Read a `.safetensors` file: eight bytes of length, a JSON header, and plain numbers; nothing in it can run.

The format is Hugging Face's: https://huggingface.co/docs/safetensors (Format). Every offset is held against the file.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LENGTH_BYTES: Final = 8
MAX_HEADER: Final = 100_000_000
"""The format's own limit, in bytes."""
TYPES: Final = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


class SafetensorsError(ValueError):
    """The file is not of the format; the message says how."""


def read_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read all tensors of floating-point numbers; others, such as counters, are left out.

    Args:
        path: the file.

    Returns:
        By name, as float32.

    Raises:
        SafetensorsError: header and data do not fit each other.
    """
    data = path.read_bytes()
    begins = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    if len(data) < LENGTH_BYTES or not LENGTH_BYTES < begins <= min(len(data), LENGTH_BYTES + MAX_HEADER):
        raise SafetensorsError("its header is longer than the file")
    try:
        header = json.loads(data[LENGTH_BYTES:begins])
        about = {name: one for name, one in header.items() if name != "__metadata__" and one["dtype"] in TYPES}
        return {name: _tensor(name, one, data, begins) for name, one in about.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, SafetensorsError):
            raise
        raise SafetensorsError(f"its header cannot be read ({type(error).__name__})") from error


def _tensor(name: str, about: dict[str, Any], data: bytes, begins: int) -> NDArray[np.float32]:
    shape, (start, end) = [int(side) for side in about["shape"]], map(int, about["data_offsets"])
    kind = np.dtype(TYPES[about["dtype"]])
    if min([0, *shape, start]) < 0 or end > len(data) - begins or end - start != math.prod(shape) * kind.itemsize:
        raise SafetensorsError(f"{name} does not lie within the file")
    values = np.frombuffer(data, kind, math.prod(shape), begins + start)
    return values.reshape(shape).astype(np.float32)
