"""A night's drift: read the two windows from Postgres, store the findings there, and describe them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from infra import database
from models.data.drift import Finding, Typical, compare
from sql.library import query
from tasks.pages.wording import counted
from tasks.scoring.runs import SCORING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import sqlalchemy as sa

    from infra.settings import Settings

SHARES_NAMED: Final = 3
"""Categories named in a sentence: those whose share has changed most."""
WHOLE: Final = 100
"""Medians from this value up are shown without decimals: they are pixels, not grey values."""
TABLE_HEADER: Final = (
    "| measure | champion's first images | newest images | distance | p | |\n| --- | --- | --- | ---: | ---: | --- |"
)


@dataclass(frozen=True, slots=True)
class DriftComparison:
    """What a night's comparison found.

    `reference_images` and `current_images` are the sizes of the two windows; if either is below `least`, there are no
    findings. `made` says whether all images are made data; otherwise none are.
    """

    model_version: str
    made: bool
    reference_images: int
    current_images: int
    least: int
    findings: tuple[Finding, ...]

    @property
    def drifted(self) -> tuple[Finding, ...]:
        """The measures that have drifted, largest distance first."""
        return tuple(sorted((one for one in self.findings if one.drifted), key=lambda one: -one.value))


def watch(pool: sa.Engine, settings: Settings, run_ids: Sequence[UUID]) -> DriftComparison | None:
    """Compare the bucket's newest images with the champion's first ones, and store the findings.

    Call it after the run is published. Safe to repeat: a run's existing rows stay.

    Args:
        pool: the database.
        settings: the bucket, how many images to compare, and the smallest distance that counts as drift.
        run_ids: the night's run, then the runs that it took over.

    Returns:
        The comparison; None if the current champion has not scored yet.

    Raises:
        DatabaseError: Postgres failed.
    """
    parameters = {
        "run_ids": [str(one) for one in run_ids],
        "bucket": settings.bucket,
        "flow": SCORING,
        "images": settings.drift_images,
    }
    with database.transaction(pool) as cursor:
        cursor.execute(query("limit_statements_to_two_minutes"))
        cursor.execute(query("drift_windows"), parameters)
        rows = cursor.fetchall()
    if not rows:
        return None
    reference, current = ([row for row in rows if row.is_reference is first] for first in (True, False))
    least = settings.drift_min_images
    findings: tuple[Finding, ...] = ()
    if min(len(reference), len(current)) >= least:
        findings = compare(_columns(reference), _columns(current), threshold=settings.drift_threshold, least=least)
    found = DriftComparison(rows[0].model_version, rows[0].made, len(reference), len(current), least, findings)
    _write(pool, run_ids[0], found)
    return found


def _columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    return {name: [getattr(row, name) for row in rows] for name in rows[0]._fields}


def _write(pool: sa.Engine, run_id: UUID, found: DriftComparison) -> None:
    with database.transaction(pool) as cursor:
        cursor.executemany(
            query("write_drift"),
            [
                {
                    "run_id": str(run_id),
                    "model_version": found.model_version,
                    "kind": one.measure.kind,
                    "measure": one.measure.name,
                    "statistic": one.statistic,
                    "value": one.value,
                    "p_value": one.p_value,
                    "threshold": one.threshold,
                    "drifted": one.drifted,
                    "reference_images": one.reference_images,
                    "current_images": one.current_images,
                }
                for one in found.findings
            ],
        )


def sentence(found: DriftComparison | None) -> str:
    """Describe the comparison in one sentence without a full stop, for the log and the top of the table."""
    if found is None:
        return "no look at drift yet: the champion of today has not scored here"
    noun = "made image" if found.made else "image"
    if not found.findings:
        return (
            f"not enough images yet to look for drift: the champion's first {counted(found.reference_images, noun)} "
            f"and {found.current_images:,} newer, {found.least:,} are needed of both"
        )
    windows = f"the newest {counted(found.current_images, noun)} beside the champion's first {found.reference_images:,}"
    if not found.drifted:
        farthest = max(found.findings, key=lambda one: one.value)
        return (
            f"no drift, {windows}: farthest apart is {farthest.measure.words} "
            f"({farthest.value:.2f}; drift from {farthest.threshold:g} on)"
        )
    named = "; ".join(
        f"{one.measure.words} ({one.value:.2f}; {_typical(one.before)}, now {_bare(one.now)})" for one in found.drifted
    )
    return f"drift in {len(found.drifted)} of {counted(len(found.findings), 'measure')}, {windows}: {named}"


def table(found: DriftComparison) -> str:
    """Return the findings for all measures as a Markdown table."""
    lines = [
        f"| {one.measure.words} | {_typical(one.before)} | {_typical(one.now)} | {one.value:.3f} | {_p(one.p_value)} "
        f"| {'**drift**' if one.drifted else ''} |"
        for one in found.findings
    ]
    return "\n".join([TABLE_HEADER, *lines])


def _typical(value: Typical) -> str:
    return _bare(value) if isinstance(value, Mapping) else f"median {_bare(value)}"


def _bare(value: Typical) -> str:
    """Return a median or shares without a label."""
    if isinstance(value, Mapping):
        return ", ".join(f"{share:.0%} {name}" for name, share in islice(value.items(), SHARES_NAMED))
    return f"{value:,.0f}" if value >= WHOLE else f"{value:.3g}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"  # noqa: PLR2004 - would be shown as 0.000
