"""A hospital's nights without Prefect: runs of many images that are alike, as dark or bright as a test wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from infra.settings import Settings
from models.radiographs.radiograph import Measurement
from tasks.nights import drift
from tasks.scoring import runs
from tasks.scoring.predictions import ImageResult
from tests.support.nights import CLASSES, MODEL, Nights, sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tasks.nights.drift import DriftComparison

SETTINGS = Settings(s3_bucket="b", drift_images=40, drift_min_images=20, retrain_new_labels=10)


class Hospital:
    """Nights of one bucket, its champion, and its labels."""

    def __init__(self, nights: Nights) -> None:
        self.nights, self.db, self.pool = nights, nights.db, nights.pool
        self.random = np.random.default_rng(0)
        self.promote(MODEL)

    def promote(self, model: str) -> None:
        """Make a model version champion."""
        first = self.db.value("select count(*) = 0 from cxr.promotions")
        self.db.rows(
            "insert into cxr.promotions (model_version, previous_version, kind, reason) "
            "values (%s, (select model_version from cxr.champion), %s, 'a test')",
            model, "bootstrap" if first else "manual",
        )  # fmt: skip

    def night(
        self, images: int, *, brightness: float = 0.5, shares: Sequence[float] = (0.2, 0.6, 0.2), made: bool = False,
        state: str = "completed", model: str = MODEL,
    ) -> UUID:  # fmt: skip
        """A run of that many new images; returns its id."""
        ids = self.db.rows(
            "insert into cxr.images (bucket, object_key, etag, size_bytes, last_modified, made) "
            "select 'b', gen_random_uuid()::text, 'e', 10, now(), %s from generate_series(1, %s) returning image_id",
            made, images,
        )  # fmt: skip
        run_id = self.nights.begin()
        runs.describe(self.pool, run_id, model, "keras")
        self.nights.commit(run_id, *(self._result(row[0], brightness, shares) for row in ids), model=model)
        self.nights.finish(run_id, state)
        return run_id

    def _result(self, image_id: int, brightness: float, shares: Sequence[float]) -> ImageResult:
        found = Measurement(
            n_bytes=10, sha256=sha256(str(image_id)), format="PNG", width=300, height=320, bit_depth=8, channels=1,
            decodable=True, mean=float(self.random.normal(brightness, 0.05)), std=0.2, p05=0.1, p95=0.9,
        )  # fmt: skip
        named = str(self.random.choice(CLASSES, p=shares))
        answer = tuple(0.8 if one == named else 0.1 for one in CLASSES)
        return ImageResult(image_id, "scored", measurement=found, predicted_class=named, probabilities=answer)

    def watch(self, *run_ids: UUID, settings: Settings = SETTINGS) -> DriftComparison | None:
        """Look at drift as the flow does at a night's end."""
        return drift.watch(self.pool, settings, run_ids)

    def label(self, images: int, source: str = "sheet") -> None:
        """New labels, of contents that had none."""
        self.db.rows(
            "insert into cxr.labels (content_sha256, class, patient_id, source) "
            "select encode(sha256(gen_random_uuid()::text::bytea), 'hex'), 'NORMAL', 'p', %s "
            "from generate_series(1, %s)",
            source, images,
        )  # fmt: skip
