"""Intake: from references to the model's input and measurements, in parallel, with bounded memory.

A thread holds one file and its pixels at a time; what leaves is the preprocessed array (50 KB at 224 px), so memory
depends on the number of threads and shards in flight, not on the night.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self

import cv2

from infra.storage import ObjectError
from models.radiographs.preprocessing import preprocess
from models.radiographs.radiograph import Limits, Measurement, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from infra.storage import Store
    from models.radiographs.preprocessing import PreprocessingSpec
    from tasks.scoring.discovery import Reference, Shard


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


class IntakePool:
    """Threads that take in shards; a context manager."""

    def __init__(
        self, store: Store, spec: PreprocessingSpec, limits: Limits, workers: int,
        shadow_spec: PreprocessingSpec | None = None,
    ) -> None:  # fmt: skip
        self._store, self._spec, self._limits, self._shadow_spec = store, spec, limits, shadow_spec
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="intake")
        # The threads are the parallelism: OpenCV's own would only compete with them.
        cv2.setNumThreads(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def shard(self, references: list[Reference]) -> list[Intake]:
        """Take in all images of a shard; same order as given.

        Raises:
            StorageError: the store as a whole is out of reach.
        """
        return list(self._begin(references))

    def shards(self, begun: Iterable[tuple[Shard, list[Reference]]]) -> Iterator[tuple[Shard, list[Intake]]]:
        """Take in shard after shard, in order; the threads go on to the next one while the last images are finished.

        Raises:
            StorageError: the store as a whole is out of reach.
        """
        unfinished: tuple[Shard, Iterator[Intake]] | None = None
        for shard, references in begun:
            following = shard, self._begin(references)
            if unfinished:
                yield unfinished[0], list(unfinished[1])
            unfinished = following
        if unfinished:
            yield unfinished[0], list(unfinished[1])

    def _begin(self, references: list[Reference]) -> Iterator[Intake]:
        return self._executor.map(
            partial(take_in, store=self._store, spec=self._spec, limits=self._limits, shadow_spec=self._shadow_spec),
            references,
        )
