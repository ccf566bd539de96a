"""What the tests of several tasks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.registry import promotion
from tests.support.nights import MODEL

if TYPE_CHECKING:
    from tests.support.nights import Nights


@pytest.fixture
def models(nights: Nights) -> Nights:
    """Three model versions of different files, the first of which is champion."""
    for number, name in enumerate(("model-2", "model-3", "model-4"), 2):
        nights.register(name)
        about = (
            "update cxr.model_versions set artifact_sha256 = repeat(%s, 64), training_key = %s where model_version = %s"
        )
        nights.db.rows(about, str(number), f"key-{number}", name)
    promotion.promote(nights.pool, MODEL, "the first one")
    return nights
