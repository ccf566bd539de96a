"""Discovery and commit alone, without a flow around them."""

from __future__ import annotations

import time
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from infra import database
from models.radiographs.radiograph import Measurement
from tasks.scoring import discovery, predictions, runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from tests.bench.site import Site

NIGHT = date(2026, 1, 31)
CHAMPION = "select model_version, preprocessing_hash from cxr.champion"


def listed_and_discovered(site: Site, known: str, everything: str, rounds: int) -> tuple[list[float], list[float], int]:
    """Time listing alone and discovery in turns; what `known` holds is known, the rest of `everything` is new.

    Returns:
        Seconds of each listing, seconds of each discovery, and the number of new objects.
    """
    store, settings = site.store(), site.settings()
    listing: list[float] = []
    discovering: list[float] = []
    new = 0
    with site.pool() as pool:
        discovery.discover(pool, store, settings, [known])
        for _ in range(rounds):
            began = time.perf_counter()
            for _page in store.list(everything):
                pass
            listing.append(time.perf_counter() - began)
            began = time.perf_counter()
            new = discovery.discover(pool, store, settings, [everything]).new
            discovering.append(time.perf_counter() - began)
            with database.transaction(pool) as cursor:
                cursor.execute("delete from cxr.images where not starts_with(object_key, %s)", (known,))
    return listing, discovering, new


def committed_per_s(site: Site, shards: int, size: int) -> float:
    """Return rows/s of committing so many shards of scored images."""
    with site.pool() as pool:
        lineage = _lineage(pool)
        with database.transaction(pool) as cursor:
            cursor.execute(
                "insert into cxr.images (bucket, object_key, etag, size_bytes, last_modified, made, run_id, shard) "
                "select %s, 'commit/' || n, md5(n::text), 1, now(), true, %s, n / %s from generate_series(0, %s) n "
                "returning image_id",
                (site.settings().bucket, str(lineage.run_id), size, shards * size - 1),
            )
            ids = [row[0] for row in cursor.fetchall()]
        with database.transaction(pool) as cursor:
            cursor.execute("analyze cxr.images")
        results = [_results(ids[start : start + size]) for start in range(0, len(ids), size)]
        began = time.perf_counter()
        for one in results:
            if predictions.commit(pool, lineage, one) != {"scored": size}:
                raise RuntimeError("a shard was not committed whole")
        return len(ids) / (time.perf_counter() - began)


def _lineage(pool: sa.Engine) -> predictions.Lineage:
    with database.transaction(pool) as cursor:
        cursor.execute(CHAMPION)
        model_version, preprocessing_hash = cursor.fetchall()[0]
    run_id: UUID = uuid4()
    runs.start(pool, run_id, None, "bench", NIGHT, "bench", {})
    return predictions.Lineage(run_id, NIGHT, model_version, preprocessing_hash, "bench", "openvino-f32")


def _results(ids: Sequence[int]) -> list[predictions.ImageResult]:
    return [
        predictions.ImageResult(
            one,
            "scored",
            measurement=Measurement(
                n_bytes=300_000, sha256=f"{one:064x}", made=True, format="PNG", width=1024, height=1024, bit_depth=8,
                channels=1, decodable=True, mean=0.4321 + one * 1e-9, std=0.2345, p05=0.05, p95=0.95,
            ),
            predicted_class="NORMAL",
            probabilities=(0.1234567, 0.7654321, 0.1111112),
        )
        for one in ids
    ]  # fmt: skip
