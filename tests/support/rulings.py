"""What a gate decided about made-up challengers, and retrainings to decide it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from tasks.registry.promotion import Ruling
from tasks.retraining import record
from tests.support.nights import MODEL

if TYPE_CHECKING:
    import sqlalchemy as sa

RULING = Ruling(
    sentence="model-2 is promoted: its balanced accuracy is higher by 0.05 (0.02 to 0.08).", champion_version=MODEL,
    challengers=("model-2", "model-3"), winner="model-2", gate={"minimum_gain": 0.01}, evidence={"figures": {}},
    data_fingerprint="data", test_fingerprint="test", test_images=400, test_patients=210,
    failures={"vgg": "out of memory"},
)  # fmt: skip


def retraining(pool: sa.Engine, bucket: str = "b", *, dry_run: bool = False) -> UUID:
    one = uuid4()
    record.start(pool, one, None, bucket, "schedule", dry_run, "1.0")
    return one
