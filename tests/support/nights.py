"""Nights without Prefect: runs, images and commits made through the tasks, with results made up."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from infra.settings import Settings
from models.radiographs.preprocessing import PreprocessingSpec
from models.radiographs.radiograph import Measurement
from tasks.scoring import discovery, predictions, runs
from tasks.scoring.predictions import ImageResult, Lineage
from tasks.validation.reasons import Reason

if TYPE_CHECKING:
    import sqlalchemy as sa

    from tests.support.databases import Database

NIGHT = date(2026, 5, 7)
MODEL = "model-1"
CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")


def sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def scored(image_id: int, content: str, predicted: str = "NORMAL", top: float = 0.8) -> ImageResult:
    """A scored image of some content."""
    rest = (1 - top) / 2
    found = Measurement(n_bytes=10, sha256=sha256(content), format="PNG", width=300, height=320, decodable=True)
    answer = tuple(top if one == predicted else rest for one in CLASSES)
    return ImageResult(image_id, "scored", measurement=found, predicted_class=predicted, probabilities=answer)


def quarantined(image_id: int, *failed: str) -> ImageResult:
    return ImageResult(
        image_id, "quarantined", tuple(Reason("it spans 0.01", name) for name in failed or ("contrast",))
    )


def failed(image_id: int, reason: str = "the object was deleted after it had been listed") -> ImageResult:
    return ImageResult(image_id, "failed", (Reason(reason),))


class Nights:
    """Runs of one database, as the flow makes them."""

    def __init__(self, db: Database, pool: sa.Engine) -> None:
        self.db, self.pool = db, pool
        self.register(MODEL)
        runs.ensure_partitions(pool)

    def register(self, model: str, classes: tuple[str, ...] = CLASSES) -> None:
        """Write a model version's row; there is no artifact."""
        spec = PreprocessingSpec()
        self.db.rows(
            "insert into cxr.model_versions values (%s, 'r', 'k', %s, %s, %s, %s, '{}', 'f', 'c', '{}', false)",
            model, "a" * 64, list(classes), json.dumps(spec.to_dict()), spec.hash,
        )  # fmt: skip

    def listed(self, *keys: str, etag: str = "e", bucket: str = "b", at: datetime | None = None) -> list[int]:
        """Write rows of images as discovery does; returns their ids."""
        moment = at or datetime(2026, 5, 7, tzinfo=UTC)
        return [
            self.db.rows(
                "insert into cxr.images (bucket, object_key, etag, size_bytes, last_modified, made) "
                "values (%s, %s, %s, 10, %s, false) returning image_id",
                bucket, key, etag, moment,
            )[0][0]
            for key in keys
        ]  # fmt: skip

    def begin(
        self, night: date = NIGHT, bucket: str = "b", shard_size: int = 256, *, retry_failed: bool = True,
        run_id: UUID | None = None,
    ) -> UUID:  # fmt: skip
        """Start a run and claim what waits."""
        run_id = run_id or uuid4()
        self.taken_over = runs.start(self.pool, run_id, None, bucket, night, "1.0", {})
        settings = Settings(s3_bucket=bucket, shard_size=shard_size, max_attempts=3)
        self.claimed = discovery.claim(self.pool, settings, run_id, retry_failed=retry_failed)
        self.shards = [(one.number, one.images) for one in self.claimed]
        return run_id

    def lineage(self, run_id: UUID, model: str = MODEL, night: date = NIGHT) -> Lineage:
        return Lineage(run_id, night, model, PreprocessingSpec().hash, "1.0", "keras")

    def commit(self, run_id: UUID, *results: ImageResult, model: str = MODEL, night: date = NIGHT) -> dict[str, int]:
        return predictions.commit(self.pool, self.lineage(run_id, model, night), results)

    def finish(self, run_id: UUID, state: str = "completed") -> None:
        runs.finish(self.pool, run_id, state, f"it is {state}", runs.count(self.pool, [run_id]), 0)

    def night(self, *results: ImageResult, state: str = "completed", night: date = NIGHT, model: str = MODEL) -> UUID:
        """A whole run over everything that waits."""
        run_id = self.begin(night)
        self.commit(run_id, *results, model=model, night=night)
        self.finish(run_id, state)
        return run_id

    def state(self, image_id: int) -> str:
        return str(self.db.value("select state from cxr.images where image_id = %s", image_id))
