"""One radiograph from its reference to pixels and measurements."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from infra.storage import ObjectError
from models.radiographs.preprocessing import preprocess
from models.radiographs.radiograph import Limits, Measurement, read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from infra.storage import Store
    from models.radiographs.preprocessing import PreprocessingSpec


@dataclass(frozen=True, slots=True)
class Reference:
    """Where one radiograph lies. Its representation has no key: keys may contain identifiers."""

    image_id: int
    key: str = field(repr=False)
    etag: str
    size: int
    made: bool

    @classmethod
    def from_row(cls, row: Any) -> Reference:
        """Return the reference in a row with the columns image_id, object_key, etag, size_bytes and made."""
        return cls(row.image_id, row.object_key, row.etag, row.size_bytes, row.made)


@dataclass(frozen=True, slots=True)
class Intake:
    """One image taken in: either `failure` says why it could not be fetched, or it was measured.

    `pixels` is the model's input, uint8 (height, width, channels), None where the file is not decodable.
    `shadow_pixels` is the shadow's, where there is one that preprocesses otherwise.
    """

    image_id: int
    measurement: Measurement | None = None
    pixels: NDArray[np.uint8] | None = None
    failure: str | None = None
    shadow_pixels: NDArray[np.uint8] | None = None


def threads(configured: int) -> int:
    """Return the number of intake threads: as configured, or two more than processors, to hide the network's delay."""
    return (
        configured or (os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0))) + 2
    )


def take_in(
    reference: Reference, store: Store, spec: PreprocessingSpec, limits: Limits,
    shadow_spec: PreprocessingSpec | None = None,
) -> Intake:  # fmt: skip
    """Fetch, decode, measure and preprocess one image, for the shadow too where it has a spec of its own.

    Raises:
        StorageError: the store as a whole is out of reach; anything about this object alone is in the result.
    """
    if reference.size > limits.max_bytes:
        problem = f"the file has {reference.size:,} bytes, more than the limit of {limits.max_bytes:,}"
        return Intake(reference.image_id, Measurement(n_bytes=reference.size, sha256=None, problem=problem))
    try:
        data = store.read(reference.key, reference.etag)
    except ObjectError as error:
        return Intake(reference.image_id, failure=str(error))
    return taken(reference.image_id, data, spec, limits, shadow_spec, made=reference.made)


def taken(
    image_id: int, data: bytes, spec: PreprocessingSpec, limits: Limits, shadow_spec: PreprocessingSpec | None = None,
    *, made: bool = False,
) -> Intake:  # fmt: skip
    """Decode, measure and preprocess the bytes of one file; see `take_in`."""
    pixels, measurement = read(data, limits)
    if made and not measurement.made:
        measurement = replace(measurement, made=True)
    if pixels is None:
        return Intake(image_id, measurement)
    own = Intake(image_id, measurement, preprocess(pixels, spec))
    if shadow_spec is None:
        return own
    with suppress(Exception):  # the champion scores it all the same; the shadow says that it lacks some
        return replace(own, shadow_pixels=preprocess(pixels, shadow_spec))
    return own
