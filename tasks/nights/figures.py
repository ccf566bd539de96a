"""Figures: what a scoring run did, read back from Postgres rather than counted while it runs.

So a report is correct for a run that was killed and resumed, and can be rendered again later. Only the references of
the contact sheets hold object keys, and they serve the download alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra import database
from models.vocabulary import NORMAL
from sql.library import query
from tasks.radiographs.fetching import Reference
from tasks.scoring.runs import Counts, RunError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    import sqlalchemy as sa

BINS: Final = 20
"""Bins of the score histogram, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended; the flow knows it before the run's row does.

    `state` is completed, held or failed; `because` says why it was held or failed; `notes` are sentences for ops, such
    as why an unusual runtime was used, or what to do about a held run.
    """

    state: str
    because: str | None = None
    skipped: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """The predictions of one class; `bins` count them by top probability, 0 to 1 in equal steps."""

    name: str
    images: int
    mean_top_probability: float | None
    bins: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReasonFigures:
    """Why images got no prediction.

    `state` is quarantined or failed. `name` is the expectation or, for failed images, the error in words. `images` are
    those it applies to; `first` of them failed no earlier expectation of the checklist, so that `first` adds up to the
    quarantine.
    """

    state: str
    name: str
    images: int
    first: int
    words: str | None = None
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """The model version that scored; fields are None if the run ended before it was loaded."""

    version: str | None
    recipe: str | None
    runtime: str | None
    preprocessing_hash: str | None
    artifact_sha256: str | None
    created_at: datetime | None
    made_data: bool

    @classmethod
    def from_row(cls, row: Any) -> Model:
        """Return the model from a row of `report_run`."""
        return cls(
            version=row.model_version,
            recipe=row.recipe,
            runtime=row.runtime,
            preprocessing_hash=row.preprocessing_hash,
            artifact_sha256=row.artifact_sha256,
            created_at=row.model_created_at,
            made_data=row.model_made_data,
        )


@dataclass(frozen=True, slots=True)
class Quality:
    """Properties of the images: (smallest, median, largest) sizes in pixels, and images by format and bit depth."""

    widths: tuple[int, int, int] | None
    heights: tuple[int, int, int] | None
    formats: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One of the runs that a report covers: a run that stopped early, or the one that took over its images."""

    run_id: str
    state: str
    started_at: datetime
    images: int


@dataclass(frozen=True, slots=True)
class Usual:
    """Medians over the published nights of the previous four weeks; `nights` may be 0."""

    nights: int
    discovered: int | None
    bad_share: float | None


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Everything that a report says about a run; holds no object key."""

    run_id: str
    night: date
    outcome: RunOutcome
    counts: Counts
    started_at: datetime
    finished_at: datetime
    own: int
    made: int
    made_scored: int
    code_version: str
    model: Model
    other_versions: tuple[tuple[str, int], ...]
    classes: tuple[ClassFigures, ...]
    reasons: tuple[ReasonFigures, ...]
    quality: Quality
    parts: tuple[Part, ...]
    usual: Usual

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def images_per_second(self) -> float | None:
        """Images that this run itself decided, per second of its duration; None if it decided none."""
        return self.own / self.seconds if self.own and self.seconds > 0 else None

    @property
    def quarantine(self) -> tuple[ReasonFigures, ...]:
        """Why images were quarantined, most frequent reason first."""
        return tuple(reason for reason in self.reasons if reason.state == "quarantined")

    @property
    def failures(self) -> tuple[ReasonFigures, ...]:
        """Why images failed, most frequent reason first."""
        return tuple(reason for reason in self.reasons if reason.state == "failed")


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One image of a contact sheet: its reference, and a caption with its class and probability, or why it has none.

    If several expectations failed, the caption names them all and the detail describes the first.
    """

    reference: Reference
    caption: str
    probability: float | None = None
    detail: str | None = None
    model_version: str | None = None


@dataclass(frozen=True, slots=True)
class ContactSheets:
    """The images shown: the highest scores of each class except the normal one, and images without a prediction."""

    highest: tuple[Exhibit, ...] = ()
    unscored: tuple[Exhibit, ...] = ()

    @property
    def references(self) -> tuple[Reference, ...]:
        """All images shown, for the download."""
        return tuple(exhibit.reference for exhibit in (*self.highest, *self.unscored))


def gather(
    pool: sa.Engine,
    run_id: UUID,
    run_ids: Sequence[UUID],
    outcome: RunOutcome | None = None,
    words: Mapping[str, str] | None = None,
) -> RunFigures:
    """Read a run's figures.

    Args:
        pool: the database.
        run_id: the run to report.
        run_ids: this run and the runs that it took over.
        outcome: how the run ends; None if its row already says so.
        words: what each expectation requires, by its name.

    Raises:
        RunError: there is no such run.
        DatabaseError: Postgres failed.
    """
    parameters = {"run_id": str(run_id), "run_ids": [str(one) for one in run_ids], "bins": BINS}
    with database.transaction(pool) as cursor:

        def rows(name: str) -> list[Any]:
            cursor.execute(query(name), parameters)
            return cursor.fetchall()

        found = rows("report_run")
        if not found:
            raise RunError(f"run {run_id} is not known; `cxr status` lists the runs")
        run, images, scores = found[0], rows("report_images")[0], rows("report_scores")
        formats = tuple((_format(row.format, row.bit_depth), row.images) for row in rows("report_formats"))
        return RunFigures(
            run_id=str(run_id),
            night=run.night,
            outcome=outcome or RunOutcome(run.state, run.message, run.skipped or 0),
            counts=Counts.from_row(images),
            started_at=run.started_at,
            finished_at=run.finished_at,
            own=images.own,
            made=images.made,
            made_scored=images.made_scored,
            code_version=run.code_version,
            model=Model.from_row(run),
            other_versions=_other_versions(scores, run.model_version),
            classes=_classes(scores, run.classes),
            reasons=tuple(_reason(row, words or {}) for row in rows("report_reasons")),
            quality=Quality(_triple(images.widths), _triple(images.heights), formats),
            parts=tuple(Part(**row._asdict()) for row in rows("report_lineage")),
            usual=Usual(**rows("report_usual")[0]._asdict()),
        )


def contact_sheets(pool: sa.Engine, run_ids: Sequence[UUID], images: int = 24) -> ContactSheets:
    """Choose up to `images` images for each sheet, alternating between classes and between kinds of reasons."""
    parameters = {"run_ids": [str(one) for one in run_ids], "images": images, "normal": NORMAL}
    with database.transaction(pool) as cursor:
        cursor.execute(query("report_highest"), parameters)
        highest = tuple(
            Exhibit(
                Reference.from_row(row),
                row.predicted_class,
                probability=row.top_probability,
                model_version=row.model_version,
            )
            for row in cursor.fetchall()
        )
        cursor.execute(query("report_unscored"), parameters)
        unscored = tuple(_unscored(row) for row in cursor.fetchall())
    return ContactSheets(highest, unscored)


def _unscored(row: Any) -> Exhibit:
    kind = "failed" if row.state == "failed" else ", ".join(row.failed_expectations)
    return Exhibit(Reference.from_row(row), kind, detail=row.found)


def _reason(row: Any, words: Mapping[str, str]) -> ReasonFigures:
    if row.state == "failed":
        return ReasonFigures(row.state, row.name, row.images, row.first)
    return ReasonFigures(row.state, row.name, row.images, row.first, words.get(row.name), row.example)


def _classes(scores: list[Any], classes: list[str]) -> tuple[ClassFigures, ...]:
    """Sum over model versions, since a resumed run may have begun with an earlier champion."""
    names = [*classes, *sorted({row.predicted_class for row in scores} - set(classes))]
    return tuple(_class(name, [row for row in scores if row.predicted_class == name]) for name in names)


def _class(name: str, scores: list[Any]) -> ClassFigures:
    bins = [0] * BINS
    for row in scores:
        bins[row.bin] += row.images
    images = sum(bins)
    mean = sum(row.probability_sum for row in scores) / images if images else None
    return ClassFigures(name, images, mean, tuple(bins))


def _other_versions(scores: list[Any], version: str | None) -> tuple[tuple[str, int], ...]:
    others = sorted({row.model_version for row in scores} - {version})
    return tuple((other, sum(row.images for row in scores if row.model_version == other)) for other in others)


def _format(kind: str, depth: int | None) -> str:
    return kind if depth is None else f"{kind}, {depth} bit"


def _triple(values: list[int | None]) -> tuple[int, int, int] | None:
    smallest, middle, largest = values or (None, None, None)
    return None if smallest is None or middle is None or largest is None else (smallest, middle, largest)
