"""Shadow scoring: a model version on trial says its word on what the champion scores, and nobody waits for it long.

It works in a thread of its own, behind the champion: an image is handed over once the champion's answer is committed.
Whatever becomes of it, the night goes on; what it could not do is said in a note.
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
"""How long a night waits for its shadow in any case: to be loaded, and to catch up."""
AHEAD = 2
"""Shards that may wait for the shadow; memory grows with it."""


@dataclass(frozen=True, slots=True)
class _Work:
    lineage: Lineage
    image_ids: list[int]
    inputs: NDArray[np.uint8]


class Shadow:
    """A model version at work beside the champion for one night.

    `hand_over` and `finish` are for the thread that scores the night.
    """

    def __init__(
        self, pool: sa.Engine, wanted: ModelVersion, load: Callable[[], Runtime], *, own_input: bool,
        patience_s: float, grace_s: float = GRACE_S,
    ) -> None:  # fmt: skip
        """Begin to load it.

        Args:
            pool: connections to the database.
            wanted: which version.
            load: fetches, verifies and loads it; called in the shadow's thread.
            own_input: it takes `ScoringInput.shadow_pixels`, since its preprocessing is not the champion's.
            patience_s: how long a commit waits for Postgres to come back.
            grace_s: how long the night waits in any case.
        """
        self.wanted = wanted
        self.own_spec = wanted.preprocessing if own_input else None
        """How `ScoringInput.shadow_pixels` must be made; None where the champion's input will do."""
        self.scored = 0
        """Images with its word in the database."""
        self.runtime: str | None = None
        """What it scores with, once it is loaded."""
        self._pool, self._load, self._patience_s, self._grace_s = pool, load, patience_s, grace_s
        self._handed_over = 0
        self._problem: str | None = None
        self._waited_s = 0.0
        self._began = time.monotonic()
        self._ready, self._stop = threading.Event(), threading.Event()
        self._waiting: queue.Queue[_Work | None] = queue.Queue(AHEAD)
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def ready(self) -> bool:
        """Wait for it to be loaded, at most the grace; False where it cannot be or takes longer.

        One that takes longer joins in when it is loaded.
        """
        self._ready.wait(self._grace_s)
        return self.runtime is not None

    @property
    def gone(self) -> bool:
        """It could not be loaded; it will not join in."""
        return self._ready.is_set() and self.runtime is None

    def hand_over(self, lineage: Lineage, intakes: Sequence[ScoringInput], results: Sequence[ImageResult]) -> None:
        """Let it score what the champion has scored; must come after the champion's commit.

        The night waits for a slow shadow at most as long as it has worked itself, and the grace. After that a shard
        that finds no room is left out.
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
            self._put(work, 0 if loading else self._may_wait())

    def finish(self, *, at_once: bool = False) -> list[str]:
        """Wait for it to catch up, as long as `hand_over` would; then it ends.

        Args:
            at_once: do not wait; the night has failed.

        Returns:
            What ops should know: nothing where it scored all that it was given.
        """
        if not at_once and self.ready():
            until = time.monotonic() + self._may_wait()
            if self._put(None, self._may_wait()):
                self._thread.join(max(0.0, until - time.monotonic()))
        self._stop.set()
        self._put(None, 0)  # wakes it, if it waits
        name, missing = self.wanted.model_version, self._handed_over - self.scored
        if self.runtime is None:
            return [f"the shadow {name} did not score: {self._problem or 'it was not loaded in time'}"]
        if missing:
            why = self._problem or "it is too slow"
            return [f"the shadow {name} has scored {self.scored} of {counted(self._handed_over, 'image')}: {why}"]
        return []

    def _may_wait(self) -> float:
        """Seconds that the night may still wait: as long as it has worked, and the grace."""
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
        """Load and score, in the shadow's thread; no error leaves it."""
        try:
            runtime = self._load()
            self.runtime = runtime.name
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the night
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
    """Write the shadow's word on images of a run, in one transaction.

    Must be idempotent: what is there stays, and an image that the run's champion has no row of gets none.

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
