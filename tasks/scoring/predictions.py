"""Predictions: commit one shard's verdicts, probabilities and image states in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra import database
from sql.library import query

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date
    from uuid import UUID

    import sqlalchemy as sa

    from models.radiographs.radiograph import Measurement
    from tasks.validation.reasons import Reason


@dataclass(frozen=True, slots=True)
class Lineage:
    """What produced a run's predictions; stored with each of them."""

    run_id: UUID
    night: date
    model_version: str
    preprocessing_hash: str
    code_version: str
    runtime: str


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What a run decided about one image.

    `state` is scored, quarantined or failed; the commit finds out which scored images are duplicates. `reasons` say why
    it was not scored, one for each expectation that it failed. `probabilities` are in the order of
    the model's classes.
    """

    image_id: int
    state: str
    reasons: tuple[Reason, ...] = ()
    measurement: Measurement | None = None
    predicted_class: str | None = None
    probabilities: Sequence[float] | None = None


def commit(pool: sa.Engine, lineage: Lineage, results: Iterable[ImageResult]) -> dict[str, int]:
    """Write one shard's results in one transaction.

    Must be idempotent: rows that this run no longer holds (committed before, or claimed by another run) are left
    alone, and content that already has a prediction by this model version gets no second one.

    Returns:
        Number of images by final state, duplicates included.

    Raises:
        DatabaseError: nothing was written or, if the connection broke during the commit, everything was.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("result_table"))
        database.copy(cursor, "result", map(_row, results))
        cursor.execute(
            query("commit_shard"),
            {
                "run_id": str(lineage.run_id),
                "night": lineage.night,
                "model_version": lineage.model_version,
                "preprocessing_hash": lineage.preprocessing_hash,
                "code_version": lineage.code_version,
                "runtime": lineage.runtime,
            },
        )
        return {row.state: row.images for row in cursor.fetchall()}


def known_content(pool: sa.Engine, hashes: Iterable[str]) -> set[str]:
    """Return which of these contents (sha256) have been scored and need no inference."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("known_content"), {"hashes": list(hashes)})
        return {row.content_sha256 for row in cursor.fetchall()}


def _row(result: ImageResult) -> tuple[Any, ...]:
    """Return one line for COPY, in the column order of the table `result`; None becomes NULL."""
    seen = result.measurement
    measured = (
        (None, False, *[None] * 8)
        if seen is None
        else (
            seen.sha256, seen.made, seen.format, seen.width, seen.height, seen.bit_depth, seen.channels,
            _real(seen.mean), _real(seen.std), _real(seen.contrast),
        )
    )  # fmt: skip
    scores = result.probabilities
    return (
        result.image_id,
        result.state,
        *_reasons(result.reasons),
        None,
        *measured,
        result.predicted_class,
        None if scores is None else _real(max(scores)),
        None if scores is None else "{" + ",".join(f"{score:.9g}" for score in scores) + "}",
    )


def _reasons(reasons: Sequence[Reason]) -> tuple[str, str | None]:
    """Return the failed expectations and the findings as Postgres arrays; without reasons, an empty array and NULL."""
    if not reasons:
        return "{}", None
    ordered = sorted(reasons, key=lambda one: one.expectation is None)
    names = (one.expectation for one in ordered if one.expectation is not None)
    return _array(names), _array(one.words for one in ordered)


def _array(texts: Iterable[str]) -> str:
    """Return texts as a Postgres array literal."""
    quoted = (one.replace("\\", r"\\").replace('"', r"\"") for one in texts)
    return "{" + ",".join(f'"{one}"' for one in quoted) + "}"


def _real(value: float | None) -> str | None:
    """Return a number with the digits that Postgres's type real keeps; more digits take longer to write."""
    return None if value is None else f"{value:.9g}"
