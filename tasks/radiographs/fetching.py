"""The single entry point for radiographs: all are fetched within the limits, decoded, measured and prepared here.

Callers pass a function that prepares the pixels and receive only its result. So memory holds one file and its pixels
per reading thread, and only the prepared results of all other images.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from infra.storage import ObjectError
from models.radiographs.preprocessing import preprocess
from models.radiographs.radiograph import Limits, Measurement, decode

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
    """One radiograph cannot be fetched. The message says why and names neither the image nor its patient."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A radiograph in the bucket."""

    store: Store = field(repr=False)
    key: str = field(repr=False)
    etag: str | None
    """The version to fetch; None: the current one."""
    size: int | None
    """Bytes, as listed; None: unknown before the object is fetched."""
    made: bool = False
    """Whether its location marks it as made data, whatever the file says."""

    def fetch(self) -> bytes:
        """Return its bytes; raises `FetchError`, or `infra.storage.StorageError` if the store is unreachable."""
        try:
            return self.store.read(self.key, self.etag)
        except ObjectError as error:
            raise FetchError(str(error)) from None


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A radiograph in a local file."""

    path: Path = field(repr=False)
    made: ClassVar[bool] = False
    """The location of a local file never marks it as made data."""

    @property
    def size(self) -> int:
        """Bytes; raises `FetchError`."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise _fetch_error(error) from None

    def fetch(self) -> bytes:
        """Return its bytes; raises `FetchError`."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise _fetch_error(error) from None


Location = StoredObject | LocalFile


@dataclass(frozen=True, slots=True)
class Radiograph(Generic[Prepared]):
    """The result of reading one radiograph: either `measurement`, or `failure`, why it could not be fetched."""

    measurement: Measurement | None = None
    prepared: Prepared | None = None
    """What `prepare` made of the pixels; None if the file is not decodable."""
    failure: str | None = None

    @property
    def content(self) -> str | None:
        """Sha256 of the bytes; None if they were not fetched."""
        return self.measurement.sha256 if self.measurement else None

    @property
    def too_large(self) -> bool:
        """Whether it was not fetched because it exceeds the size limit."""
        return self.measurement is not None and self.content is None

    @property
    def problem(self) -> str | None:
        """Why there are no pixels, in words; None if they were decoded."""
        return self.failure if self.measurement is None else self.measurement.problem


def read_radiograph(location: Location, limits: Limits, prepare: Callable[[Pixels], Prepared]) -> Radiograph[Prepared]:
    """Fetch, decode and measure one radiograph, and prepare its pixels.

    Args:
        location: where it is stored.
        limits: checked before fetching and before decoding.
        prepare: turns grey pixels (height, width), uint8 or uint16, upright, into what the caller needs. It must be
            picklable, so that another process can call it.

    Raises:
        StorageError: the store as a whole is unreachable. A problem with this radiograph alone is in the result.
    """
    try:
        size = location.size
        if size is not None and (problem := limits.too_large(size)):
            return Radiograph(Measurement(n_bytes=size, sha256=None, made=location.made, problem=problem))
        data = location.fetch()
    except FetchError as error:
        return Radiograph(failure=str(error))
    pixels, measurement = decode(data, limits)
    if location.made and not measurement.made:
        measurement = replace(measurement, made=True)
    return Radiograph(measurement, None if pixels is None else prepare(pixels))


def measure(location: Location, limits: Limits) -> Radiograph[None]:
    """Read one radiograph and discard its pixels; see `read_radiograph`."""
    return read_radiograph(location, limits, _discard)


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a registered radiograph is stored. Its representation omits the key: keys may contain identifiers."""

    image_id: int
    key: str = field(repr=False)
    etag: str
    size: int
    made: bool

    @classmethod
    def from_row(cls, row: Any) -> Reference:
        """Build a reference from a row with the columns image_id, object_key, etag, size_bytes and made."""
        return cls(row.image_id, row.object_key, row.etag, row.size_bytes, row.made)

    def in_store(self, store: Store) -> StoredObject:
        """Return the object that this refers to in a store."""
        return StoredObject(store, self.key, self.etag, self.size, self.made)


@dataclass(frozen=True, slots=True)
class ScoringInput:
    """One image read for scoring: either `measurement`, or `failure`, why it could not be fetched.

    `pixels` is the model's input, uint8 (height, width, channels), or None if the file is not decodable.
    `shadow_pixels` is the shadow's input, if there is a shadow with a different preprocessing.
    """

    image_id: int
    measurement: Measurement | None = None
    pixels: NDArray[np.uint8] | None = None
    failure: str | None = None
    shadow_pixels: NDArray[np.uint8] | None = None


def thread_count(configured: int) -> int:
    """Return the number of reading threads: as configured, or two more than processors, to hide network latency."""
    return (
        configured or (os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0))) + 2
    )


def read_for_scoring(
    reference: Reference, store: Store, spec: PreprocessingSpec, limits: Limits,
    shadow_spec: PreprocessingSpec | None = None,
) -> ScoringInput:  # fmt: skip
    """Fetch, decode, measure and preprocess one image, also for the shadow if it has a spec of its own.

    Raises:
        StorageError: the store as a whole is unreachable. A problem with this object alone is in the result.
    """
    prepare = partial(_model_inputs, spec=spec, shadow_spec=shadow_spec)
    found = read_radiograph(reference.in_store(store), limits, prepare)
    pixels, shadow_pixels = found.prepared or (None, None)
    return ScoringInput(reference.image_id, found.measurement, pixels, found.failure, shadow_pixels)


def _model_inputs(
    pixels: Pixels, spec: PreprocessingSpec, shadow_spec: PreprocessingSpec | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return the champion's input and the shadow's."""
    own = preprocess(pixels, spec)
    if shadow_spec is not None:
        with suppress(Exception):  # the champion still scores the image, and the shadow reports it as missing
            return own, preprocess(pixels, shadow_spec)
    return own, None


def _discard(_: Pixels) -> None:
    """Discard the pixels."""


def _fetch_error(error: OSError) -> FetchError:
    """Translate an error without its own message, which names the file."""
    gone = isinstance(error, FileNotFoundError)
    return FetchError("the file is not there" if gone else f"the file cannot be opened: {error.strerror}")
