"""Importing labels: ground truth stored by image content, with its source and its history."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from infra import database
from models.vocabulary import CLASSES
from sql.library import query
from tasks.labels import covid_chestxray, sheets
from tasks.labels.expectations import validate_rows
from tasks.labels.objects import locate, store_files
from tasks.labels.sheets import LabelError, Row, RowNote
from tasks.registry import model_versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from infra.database import Cursor
    from infra.settings import Settings
    from infra.storage import Store

UNKNOWN_CLASS: Final = "unknown class"
NO_IMAGE: Final = "no such image"


@dataclass(frozen=True, slots=True)
class Disputes:
    """The number of images whose sources currently disagree."""

    images: int
    """Images with different classes."""
    adjudicated: int
    """Those of `images` that an adjudication settles; for the rest the latest label counts."""
    patients: int
    """Images assigned to different patients."""


@dataclass(frozen=True, slots=True)
class ResolveResult:
    """The result of retrying waiting labels."""

    labels: int = 0
    """Labels that became valid."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Labels that still wait, by reason."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of an import. Each row is counted in exactly one field, `notes` and `resolved` apart."""

    rows: int
    new: int
    changed: int
    """Labels that superseded an older label of their source."""
    same: int
    """Rows that repeat an earlier label of their source or another row of the sheet."""
    unknown: tuple[Row, ...]
    """Waiting: their class is unknown."""
    unmatched: tuple[Row, ...]
    """Waiting: their image has not been seen yet."""
    refused: tuple[RowNote, ...]
    left_out: tuple[RowNote, ...]
    """Left out on purpose: lateral views, computed tomography."""
    notes: tuple[RowNote, ...]
    resolved: ResolveResult
    classes: tuple[str, ...]
    disputes: Disputes


def import_labels(
    pool: sa.Engine,
    store: Store,
    settings: Settings,
    path: Path,
    *,
    source: str | None = None,
    images: Path | None = None,
    prefix: str | None = None,
    new_classes: Sequence[str] = (),
) -> ImportResult:
    """Import a sheet or a folder of labels. Idempotent: importing the same again changes nothing.

    Rows that fail an expectation are refused one by one. Rows with an unknown class or an unseen image are kept, and
    `resolve_waiting` tries them again.

    Args:
        pool: connections to the database.
        store: the bucket that holds the images, now or later.
        settings: the limits, and the prefixes of made data.
        path: a CSV file or a folder; see `sheets.read` and `covid_chestxray.read`.
        source: the source of rows that name none.
        images: the folder that holds the files of a covid-chestxray sheet.
        prefix: alternatively, their key prefix in the bucket.
        new_classes: classes to accept in addition to the known ones.

    Raises:
        LabelError: the sheet cannot be read; nothing was written.
        StorageError: the bucket cannot be used.
        ValidationError: the expectations could not be evaluated.
    """
    if not path.is_dir() and covid_chestxray.is_metadata_sheet(path):
        sheet = covid_chestxray.read(path, source, images, prefix)
    elif images is not None or prefix is not None:
        raise LabelError("--images and --prefix are for the metadata sheet of covid-chestxray-dataset only")
    else:
        sheet = sheets.read(path, source)
    classes = known_classes(pool, new_classes)
    located = locate(pool, store, settings, sheet.rows)
    rows = [row for place, row in enumerate(sheet.rows) if place not in located.left_out]
    contents = [content for place, content in enumerate(located.contents) if place not in located.left_out]
    checked = validate_rows(
        rows, [content or row.sha256 or row.key for row, content in zip(rows, contents, strict=True)], classes
    )
    files = {
        str(contents[place]): file
        for place in (*checked.accepted, *checked.unknown_class)
        if (file := rows[place].file)
    }
    unreadable = store_files(pool, store, settings, files)
    received_at = datetime.now(UTC)

    def received(places: Sequence[int]) -> list[tuple[Row, str | None, datetime]]:
        return [
            (checked.rows[place], contents[place], received_at) for place in places if contents[place] not in unreadable
        ]

    unmatched = [place for place in checked.accepted if contents[place] is None]
    accepted = received([place for place in checked.accepted if contents[place] is not None])
    waiting = {UNKNOWN_CLASS: received(checked.unknown_class), NO_IMAGE: received(unmatched)}
    with database.transaction(pool) as cursor:
        kinds = _write(cursor, store.bucket, accepted, waiting)
    spoiled = tuple(
        RowNote(rows[place].line, rows[place].name, unreadable[content])
        for place in (*checked.accepted, *checked.unknown_class)
        if (content := contents[place]) in unreadable
    )
    resolved = resolve_waiting(pool, store, settings, classes)
    refused = sorted((*located.left_out.values(), *checked.refused, *spoiled), key=lambda note: note.line)
    return ImportResult(
        rows=len(sheet.rows) + len(sheet.left_out),
        new=kinds["new"],
        changed=kinds["changed"],
        same=len(accepted) - kinds["new"] - kinds["changed"],
        unknown=tuple(row for row, *_ in waiting[UNKNOWN_CLASS]),
        unmatched=tuple(row for row, *_ in waiting[NO_IMAGE]),
        refused=tuple(refused),
        left_out=sheet.left_out,
        notes=checked.notes,
        resolved=resolved,
        classes=classes,
        disputes=count_disputes(pool),
    )


def resolve_waiting(
    pool: sa.Engine, store: Store, settings: Settings, classes: Sequence[str] | None = None
) -> ResolveResult:
    """Retry waiting labels: their image may have arrived, or their class may be known now.

    A resolved label keeps the time at which it was received, so a label received later takes precedence.

    Args:
        pool: connections to the database.
        store: the bucket whose labels are retried; searched for images that no night has seen.
        settings: the limits, and the prefixes of made data.
        classes: the known classes; by default those of `known_classes`.

    Raises:
        StorageError: the bucket cannot be read.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("waiting_labels"), {"bucket": store.bucket})
        found = cursor.fetchall()
    if not found:
        return ResolveResult()
    rows = [
        Row(
            place, one.label, one.patient_id, one.source, one.object_key, one.content_sha256, None, one.view, one.sex,
            None if one.age is None else f"{one.age:g}", one.site,
        )
        for place, one in enumerate(found)
    ]  # fmt: skip
    known = classes or known_classes(pool)
    # The label is about the content that the import found, even if the key holds another object now.
    located = locate(pool, store, settings, [replace(row, key=None) if row.sha256 else row for row in rows])
    why = [
        NO_IMAGE if content is None else UNKNOWN_CLASS if row.label not in known else None
        for row, content in zip(rows, located.contents, strict=True)
    ]
    ready = [place for place, reason in enumerate(why) if reason is None and place not in located.left_out]
    with database.transaction(pool) as cursor:
        # Another process may resolve the same labels: only the one that closes a waiting label writes it.
        cursor.execute(query("close_waiting"), {"waiting": [found[place].waiting_id for place in ready]})
        closed = {row.waiting_id for row in cursor.fetchall()}
        mine = [place for place in ready if found[place].waiting_id in closed]
        accepted = [(rows[place], located.contents[place], found[place].received_at) for place in mine]
        _write(cursor, store.bucket, accepted, {})
    return ResolveResult(
        len(mine), Counter(reason or NO_IMAGE for place, reason in enumerate(why) if place not in set(ready))
    )


def known_classes(pool: sa.Engine, new: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the project's classes (or the champion's, if they differ) and the classes of existing labels.

    Args:
        pool: connections to the database.
        new: further classes to accept.
    """
    try:
        champions = model_versions.champion(pool).classes
    except model_versions.RegistryError:
        champions = CLASSES
    with database.transaction(pool) as cursor:
        cursor.execute(query("labelled_classes"))
        labelled = [row.label for row in cursor.fetchall()]
    return tuple(dict.fromkeys((*(CLASSES if set(champions) <= set(CLASSES) else champions), *labelled, *new)))


def count_images(pool: sa.Engine) -> int:
    """Count the images with a current label, in all buckets."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("count_labelled_images"))
        return int(cursor.fetchall()[0].images)


def count_by_source(pool: sa.Engine) -> dict[str, int]:
    """Count the images that each source has labelled, the largest first."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("label_counts"))
        return {row.name: row.images for row in cursor.fetchall() if row.what == "source"}


def count_disputes(pool: sa.Engine) -> Disputes:
    """Count the images whose sources disagree."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("label_disputes"))
        return Disputes(**cursor.fetchall()[0]._asdict())


ReceivedLabel = tuple[Row, str | None, datetime]
"""A row, the sha256 of its image if known, and when the label was received."""


def _write(
    cursor: Cursor, bucket: str, accepted: Sequence[ReceivedLabel], waiting: Mapping[str, Sequence[ReceivedLabel]]
) -> Counter[str]:
    """Write labels and waiting labels; return the number of written labels by kind: new, changed."""
    cursor.execute(query("label_tables"))
    database.copy(cursor, "word", (_values(place, *one) for place, one in enumerate(accepted)))
    later = [(*_values(place, *one), why) for why, them in waiting.items() for place, one in enumerate(them)]
    database.copy(cursor, "waiting", later)
    cursor.execute(query("keep_waiting"), {"bucket": bucket})
    cursor.execute(query("write_labels"))
    return Counter({row.kind: row.labels for row in cursor.fetchall()})


def _values(place: int, row: Row, content: str | None, received_at: datetime) -> tuple[Any, ...]:
    return (
        place, row.key, content or row.sha256, row.label, row.patient, row.source, row.view, row.sex, row.age, row.site,
        received_at.isoformat(),
    )  # fmt: skip
