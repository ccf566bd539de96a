"""The one door for radiographs: each is fetched within the limits, decoded, measured and prepared here, nowhere else.

What a caller wants of the pixels is made of them before they leave. So memory holds one file and its pixels for each
thread that reads, and of all others only what was asked for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from infra.storage import ObjectError
from models.radiographs.preprocessing import preprocess
from models.radiographs.radiograph import Limits, Measurement, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from infra.storage import Store
    from models.radiographs.preprocessing import PreprocessingSpec
    from models.radiographs.radiograph import Pixels

Prepared = TypeVar("Prepared")


class FetchError(Exception):
    """One radiograph cannot be fetched; the message says why and names neither the image nor its patient."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A radiograph in the bucket."""

    store: Store = field(repr=False)
    key: str = field(repr=False)
    etag: str | None
    """The version that is meant; None: whichever lies there."""
    size: int | None
    """Bytes, as listed; None: not known before the object is fetched."""
    made: bool = False
    """Known to be made data by where it lies, whatever the file says."""

    def fetch(self) -> bytes:
        """Return its bytes; raises `FetchError`, or `infra.storage.StorageError` where the store is out of reach."""
        try:
            return self.store.read(self.key, self.etag)
        except ObjectError as error:
            raise FetchError(str(error)) from None


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A radiograph in a file of this machine."""

    path: Path = field(repr=False)
    made: ClassVar[bool] = False
    """Where it lies says nothing about that."""

    @property
    def size(self) -> int:
        """Bytes; raises `FetchError`."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise _unreadable(error) from None

    def fetch(self) -> bytes:
        """Return its bytes; raises `FetchError`."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise _unreadable(error) from None


Location = StoredObject | LocalFile


@dataclass(frozen=True, slots=True)
class Radiograph(Generic[Prepared]):
    """One radiograph as it was read: `failure` says why it could not be fetched, or else it was measured."""

    measurement: Measurement | None = None
    prepared: Prepared | None = None
    """What was made of its pixels; None where the file is not decodable."""
    failure: str | None = None

    @property
    def content(self) -> str | None:
        """sha256 of its bytes; None where they were not fetched."""
        return self.measurement.sha256 if self.measurement else None

    @property
    def too_large(self) -> bool:
        """It was not fetched because it has more bytes than the limit."""
        return self.measurement is not None and self.content is None

    @property
    def problem(self) -> str | None:
        """Why nobody sees its pixels, in words; None where they were decoded."""
        return self.failure if self.measurement is None else self.measurement.problem


def read_radiograph(location: Location, limits: Limits, prepare: Callable[[Pixels], Prepared]) -> Radiograph[Prepared]:
    """Fetch, decode and measure one radiograph, and prepare its pixels.

    Args:
        location: where it lies.
        limits: what is refused before fetching and before decoding.
        prepare: makes what the caller wants of grey pixels (height, width), uint8 or uint16, upright. A function that
            can be pickled, so that another process may call it.

    Raises:
        StorageError: the store as a whole is out of reach; anything about this radiograph alone is in the result.
    """
    try:
        size = location.size
        if size is not None and (problem := limits.too_large(size)):
            return Radiograph(Measurement(n_bytes=size, sha256=None, made=location.made, problem=problem))
        data = location.fetch()
    except FetchError as error:
        return Radiograph(failure=str(error))
    pixels, measurement = read(data, limits)
    if location.made and not measurement.made:
        measurement = replace(measurement, made=True)
    return Radiograph(measurement, None if pixels is None else prepare(pixels))


def measure(location: Location, limits: Limits) -> Radiograph[None]:
    """Read one radiograph for its measurement alone; see `read_radiograph`."""
    return read_radiograph(location, limits, _nothing)


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

    def within(self, store: Store) -> StoredObject:
        """The object of a store that is meant."""
        return StoredObject(store, self.key, self.etag, self.size, self.made)


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
    prepare = partial(_model_inputs, spec=spec, shadow_spec=shadow_spec)
    found = read_radiograph(reference.within(store), limits, prepare)
    pixels, shadow_pixels = found.prepared or (None, None)
    return Intake(reference.image_id, found.measurement, pixels, found.failure, shadow_pixels)


def _model_inputs(
    pixels: Pixels, spec: PreprocessingSpec, shadow_spec: PreprocessingSpec | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return the champion's input and the shadow's."""
    own = preprocess(pixels, spec)
    if shadow_spec is not None:
        with suppress(Exception):  # the champion scores it all the same; the shadow says that it lacks some
            return own, preprocess(pixels, shadow_spec)
    return own, None


def _nothing(_: Pixels) -> None:
    """Leave the pixels."""


def _unreadable(error: OSError) -> FetchError:
    """In words: the error's own message names the file."""
    gone = isinstance(error, FileNotFoundError)
    return FetchError("the file is not there" if gone else f"the file cannot be opened: {error.strerror}")
