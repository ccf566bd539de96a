"""Shadow scoring: a model version on trial scores the same images as the champion, without delaying the night for long.

The shadow runs in its own thread, behind the champion: it gets an image after the champion's prediction is committed.
The night continues whether or not the shadow succeeds; a note reports what it missed.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from infra import database
from models.errors import in_words
from sql.library import query
from tasks.pages.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from models.serving.runtime import Runtime
    from tasks.radiographs.fetching import ScoringInput
    from tasks.registry.model_versions import ModelVersion
    from tasks.scoring.predictions import ImageResult, Lineage

GRACE_S = 60.0
"""Minimum time that a night allows its shadow to load, and to catch up."""
QUEUED_SHARDS = 2
"""Shards that may wait for the shadow; each costs memory."""


@dataclass(frozen=True, slots=True)
class _Work:
    lineage: Lineage
    image_ids: list[int]
    inputs: NDArray[np.uint8]


class Shadow:
    """A model version that scores one night's images after the champion.

    Call `hand_over` and `finish` from the thread that scores the night.
    """

    def __init__(
        self, pool: sa.Engine, wanted: ModelVersion, load: Callable[[], Runtime], *, own_input: bool,
        patience_s: float, grace_s: float = GRACE_S,
    ) -> None:  # fmt: skip
        """Start the shadow's thread, which loads the model.

        Args:
            pool: connections to the database.
            wanted: the model version.
            load: fetches, verifies and loads the model; called in the shadow's thread.
            own_input: its preprocessing differs from the champion's, so it scores `ScoringInput.shadow_pixels`.
            patience_s: seconds that a commit waits for Postgres to come back.
            grace_s: minimum seconds that the night waits for it.
        """
        self.wanted = wanted
        self.own_spec = wanted.preprocessing if own_input else None
        """The preprocessing of `ScoringInput.shadow_pixels`; None if the shadow uses the champion's input."""
        self.scored = 0
        """Images whose shadow prediction is in the database."""
        self.runtime: str | None = None
        """Name of the runtime; None until the model is loaded."""
        self._pool, self._load, self._patience_s, self._grace_s = pool, load, patience_s, grace_s
        self._handed_over = 0
        self._problem: str | None = None
        self._waited_s = 0.0
        self._began = time.monotonic()
        self._ready, self._stop = threading.Event(), threading.Event()
        self._waiting: queue.Queue[_Work | None] = queue.Queue(QUEUED_SHARDS)
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def ready(self) -> bool:
        """Wait up to `grace_s` for the model to load; False if it fails or takes longer.

        A model that takes longer starts to score once it is loaded.
        """
        self._ready.wait(self._grace_s)
        return self.runtime is not None

    @property
    def gone(self) -> bool:
        """Whether the model could not be loaded, so it will score nothing."""
        return self._ready.is_set() and self.runtime is None

    def hand_over(self, lineage: Lineage, intakes: Sequence[ScoringInput], results: Sequence[ImageResult]) -> None:
        """Queue a shard that the champion has scored; call it after the champion's commit.

        The total wait for a slow shadow is at most the night's own working time plus `grace_s`. After that, a shard is
        dropped if the queue is full.
        """
        if self.gone:
            return
        loading = not self._ready.is_set()
        scored = {one.image_id for one in results if one.probabilities is not None}
        self._handed_over += len(scored)
        inputs = {
            one.image_id: pixels
            for one in intakes
            if one.image_id in scored and (pixels := one.shadow_pixels if self.own_spec else one.pixels) is not None
        }
        if inputs:
            work = _Work(lineage, list(inputs), np.stack(list(inputs.values())))
            self._put(work, 0 if loading else self._remaining_wait_s())

    def finish(self, *, at_once: bool = False) -> list[str]:
        """Wait for the shadow to catch up, within the same limit as `hand_over`, then stop it.

        Args:
            at_once: do not wait, because the night has failed.

        Returns:
            Notes for ops; empty if it scored every image that it was given.
        """
        if not at_once and self.ready():
            until = time.monotonic() + self._remaining_wait_s()
            if self._put(None, self._remaining_wait_s()):
                self._thread.join(max(0.0, until - time.monotonic()))
        self._stop.set()
        self._put(None, 0)  # wakes the thread if it waits for work
        name, missing = self.wanted.model_version, self._handed_over - self.scored
        if self.runtime is None:
            return [f"the shadow {name} did not score: {self._problem or 'it was not loaded in time'}"]
        if missing:
            why = self._problem or "it is too slow"
            return [f"the shadow {name} has scored {self.scored} of {counted(self._handed_over, 'image')}: {why}"]
        return []

    def _remaining_wait_s(self) -> float:
        """Seconds that the night may still wait: its working time plus the grace, less what it has waited."""
        worked_s = time.monotonic() - self._began - self._waited_s
        return max(0.0, worked_s + self._grace_s - self._waited_s)

    def _put(self, work: _Work | None, seconds: float) -> bool:
        began = time.monotonic()
        try:
            self._waiting.put(work, timeout=seconds) if seconds > 0 else self._waiting.put_nowait(work)
        except queue.Full:
            return False
        finally:
            self._waited_s += time.monotonic() - began
        return True

    def _run(self) -> None:
        """Load and score, in the shadow's thread; errors are recorded, not raised."""
        try:
            runtime = self._load()
            self.runtime = runtime.name
        except Exception as error:  # noqa: BLE001 - no error here may fail the night
            self._problem = in_words(error)
            return
        finally:
            self._ready.set()
        while (work := self._waiting.get()) is not None and not self._stop.is_set():
            try:
                self._score(runtime, work)
            except Exception as error:  # noqa: BLE001 - as above; the next shard may do better
                self._problem = in_words(error)

    def _score(self, runtime: Runtime, work: _Work) -> None:
        answers = runtime.predict(work.inputs)
        finite = [bool(np.isfinite(answer).all()) for answer in answers]
        if not all(finite):
            self._problem = "its answer was not finite"
        rows = [
            (image_id, runtime.classes[int(answer.argmax())], answer)
            for image_id, answer, fine in zip(work.image_ids, answers, finite, strict=True)
            if fine
        ]
        lineage = work.lineage
        about = {
            "run_id": str(lineage.run_id),
            "model_version": self.wanted.model_version,
            "preprocessing_hash": self.wanted.preprocessing_hash,
            "code_version": lineage.code_version,
            "runtime": runtime.name,
        }
        database.retrying(self._patience_s).wraps(commit)(self._pool, about, rows)
        self.scored += len(rows)


def commit(pool: sa.Engine, about: dict[str, Any], rows: Sequence[tuple[int, str, NDArray[np.float32]]]) -> None:
    """Write the shadow's predictions for images of a run, in one transaction.

    Must be idempotent: existing rows stay, and an image without a champion's row in this run gets none.

    Args:
        pool: connections to the database.
        about: run_id, model_version, preprocessing_hash, code_version and runtime.
        rows: image id, predicted class, and a probability for each class.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("shadow_table"))
        database.copy(cursor, "shadow_result", (_row(*row) for row in rows))
        cursor.execute(query("commit_shadow"), about)


def _row(image_id: int, predicted_class: str, answer: NDArray[np.float32]) -> tuple[Any, ...]:
    scores = [f"{score:.9g}" for score in answer]
    return image_id, predicted_class, f"{answer.max():.9g}", "{" + ",".join(scores) + "}"
