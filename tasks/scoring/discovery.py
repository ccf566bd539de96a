"""Discovery: find new objects and failed images to retry, and divide them into shards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from infra import database
from sql.library import query
from tasks.radiographs.fetching import Reference
from tasks.radiographs.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    import sqlalchemy as sa

    from infra.settings import Settings
    from infra.storage import Store

PAGES_AHEAD = 8
APART_AFTER, GIVEN_UP_AFTER = 2, 4
"""How many runs must die while processing an image before it gets its own shard, and before it is given up."""
OUR_OWN = ("models/", "reports/", "labelled/")
"""Prefixes that the system itself writes to; their objects are never scored, whatever prefix is listed."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Claimed images, committed together; a `suspect` shard holds one image that may have killed earlier runs."""

    number: int
    images: int
    suspect: bool


@dataclass(frozen=True, slots=True)
class Discovered:
    """Counts of a listing: `listed` image objects, the `new` ones among them, and objects `skipped` by suffix."""

    listed: int
    new: int
    skipped: int


def expand(prefixes: Iterable[str], night: date, look_back_days: int) -> list[str]:
    """Expand date patterns: one prefix for each day from the start of the look-back to the night itself.

    A prefix without a pattern stays as it is (%% is a literal percent sign). A prefix inside another one is dropped, so
    that nothing is listed twice.
    """
    days = [night - timedelta(days=back) for back in range(look_back_days, -1, -1)]
    expanded = dict.fromkeys(day.strftime(prefix) for prefix in prefixes for day in days)
    return [one for one in expanded if not any(one != other and one.startswith(other) for other in expanded)]


def discover(pool: sa.Engine, store: Store, settings: Settings, prefixes: Iterable[str]) -> Discovered:
    """Write a row for every image object that Postgres does not know yet (by key and etag).

    The listing streams into a temporary table, and one set operation finds the new objects there. Safe to repeat:
    objects that were written before are known.

    Raises:
        StorageError: the bucket cannot be listed.
        DatabaseError: Postgres failed; nothing was written.
    """
    suffixes = tuple(suffix.lower() for suffix in settings.skip_suffixes)
    made = tuple(settings.made_prefixes)
    listed = skipped = 0
    with database.transaction(pool) as cursor:
        cursor.execute(query("listing_table"))
        with prefetch((page for prefix in prefixes for page in store.list(prefix)), PAGES_AHEAD) as pages:
            for page in pages:
                foreign = [item for item in page if not item.key.startswith(OUR_OWN)]
                images = [
                    one for one in foreign if not one.key.endswith("/") and not one.key.lower().endswith(suffixes)
                ]
                listed += len(images)
                skipped += len(foreign) - len(images)
                rows = (
                    (item.key, item.etag, item.size, item.last_modified.isoformat(), item.key.startswith(made))
                    for item in images
                )
                database.copy(cursor, "listing", rows)
        cursor.execute(query("take_listing"), {"bucket": store.bucket})
        return Discovered(listed, cursor.rowcount, skipped)


def claim(pool: sa.Engine, settings: Settings, run_id: UUID, *, retry_failed: bool) -> list[Shard]:
    """Claim the bucket's waiting images for this run, in shards; the caller holds the bucket's lock.

    New images, images left by a dead run and, with `retry_failed`, failed images with attempts left are waiting. An
    image that was being processed when runs died gets its own shard at the end, and is given up if more runs die.
    """
    parameters = {
        "bucket": settings.bucket,
        "run_id": str(run_id),
        "shard_size": settings.shard_size,
        "retry_failed": retry_failed,
        "max_attempts": settings.max_attempts,
        "apart_after": APART_AFTER,
        "given_up_after": GIVEN_UP_AFTER,
    }
    with database.transaction(pool) as cursor:
        cursor.execute(query("claim"), parameters)
        cursor.execute(query("claimed_shards"), parameters)
        return [Shard(row.shard, row.images, row.suspect) for row in cursor.fetchall()]


def begin(pool: sa.Engine, run_id: UUID, shard: int) -> list[Reference]:
    """Return the undecided images of one shard, and record that work on them begins."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("begin_shard"), {"run_id": str(run_id), "shard": shard})
        return [Reference.from_row(row) for row in cursor.fetchall()]
