"""Intake: fetch, measure and preprocess images in parallel, with bounded memory.

A thread holds one file and its pixels at a time and returns the preprocessed array (50 KB at 224 px). So memory
depends on the number of threads and of shards in flight, not on the number of images in the night.
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
    """A pool of threads that reads shards; a context manager."""

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
        """Read all images of a shard, in the order given.

        Raises:
            StorageError: the store cannot be reached at all.
        """
        return list(self._begin(references))

    def shards(self, begun: Iterable[tuple[Shard, list[Reference]]]) -> Iterator[tuple[Shard, list[ScoringInput]]]:
        """Read shards in order; the threads begin the next shard while the last images of this one finish.

        Raises:
            StorageError: the store cannot be reached at all.
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
