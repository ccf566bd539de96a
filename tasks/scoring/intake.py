"""Intake: from references to the model's input and measurements, in parallel, with bounded memory.

A thread holds one file and its pixels at a time; what leaves is the preprocessed array (50 KB at 224 px), so memory
depends on the number of threads and shards in flight, not on the night.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Self

from tasks.radiographs.fetching import ScoringInput, read_for_scoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.storage import Store
    from models.radiographs.preprocessing import PreprocessingSpec
    from models.radiographs.radiograph import Limits
    from tasks.radiographs.fetching import Reference
    from tasks.scoring.discovery import Shard


class IntakePool:
    """Threads that take in shards; a context manager."""

    def __init__(
        self, store: Store, spec: PreprocessingSpec, limits: Limits, workers: int,
        shadow_spec: PreprocessingSpec | None = None,
    ) -> None:  # fmt: skip
        self._store, self._spec, self._limits, self._shadow_spec = store, spec, limits, shadow_spec
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="intake")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def shard(self, references: list[Reference]) -> list[ScoringInput]:
        """Take in all images of a shard; same order as given.

        Raises:
            StorageError: the store as a whole is out of reach.
        """
        return list(self._begin(references))

    def shards(self, begun: Iterable[tuple[Shard, list[Reference]]]) -> Iterator[tuple[Shard, list[ScoringInput]]]:
        """Take in shard after shard, in order; the threads go on to the next one while the last images are finished.

        Raises:
            StorageError: the store as a whole is out of reach.
        """
        unfinished: tuple[Shard, Iterator[ScoringInput]] | None = None
        for shard, references in begun:
            following = shard, self._begin(references)
            if unfinished:
                yield unfinished[0], list(unfinished[1])
            unfinished = following
        if unfinished:
            yield unfinished[0], list(unfinished[1])

    def _begin(self, references: list[Reference]) -> Iterator[ScoringInput]:
        return self._executor.map(
            partial(
                read_for_scoring, store=self._store, spec=self._spec, limits=self._limits, shadow_spec=self._shadow_spec
            ),
            references,
        )
