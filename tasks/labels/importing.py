"""Labels: ground truth that people bring in, kept by image content with its source and its history."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from infra import database
from models.vocabulary import CLASSES
from sql.library import query
from tasks.labels import covid_chestxray, sheets
from tasks.labels.expectations import judge
from tasks.labels.objects import locate, store_files
from tasks.labels.sheets import LabelError, LeftOut, Row
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
    """Images whose sources disagree now."""

    images: int
    """About the class."""
    adjudicated: int
    """Of these: settled by an adjudication; for the others the latest word counts."""
    patients: int
    """Images that sources give to different patients."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What came of the labels that waited."""

    labels: int = 0
    """Those that wait no more."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Those that still do, by why."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a sheet: each row is in exactly one of the numbers and lists, but `notes` and `resolved`."""

    rows: int
    new: int
    changed: int
    """Labels that superseded an older word of their source."""
    same: int
    """Rows that said what their source had said before, or what another row of the sheet says."""
    unknown: tuple[Row, ...]
    """They wait: nobody knows their class."""
    unmatched: tuple[Row, ...]
    """They wait: nobody has seen their image."""
    refused: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]
    """Not meant to become labels: lateral views, computed tomography."""
    notes: tuple[LeftOut, ...]
    resolved: Resolved
    classes: tuple[str, ...]
    disputes: Disputes


def bring_in(
    pool: sa.Engine,
    store: Store,
    settings: Settings,
    path: Path,
    *,
    source: str | None = None,
    images: Path | None = None,
    prefix: str | None = None,
    new_classes: Sequence[str] = (),
) -> Imported:
    """Take in a sheet or a folder of labels. Safe to repeat: the same again changes nothing.

    Rows that break what is expected of a label are refused, each by itself; rows of an unknown class or an image that
    nobody has seen are kept and tried again by `resolve_waiting`.

    Args:
        pool: connections to the database.
        store: the bucket that the images lie in, or will.
        settings: limits and prefixes of made data.
        path: a CSV file or a folder, see `sheets.read` and `covid_chestxray.read`.
        source: who says so, where the rows do not.
        images: the folder in which the files of a covid-chestxray sheet lie.
        prefix: what comes before their names in the bucket instead.
        new_classes: classes to take beside the known ones.

    Raises:
        LabelError: the sheet cannot be read; nothing was written.
        StorageError: the bucket cannot be used.
        ValidationError: the expectations could not be evaluated.
    """
    if not path.is_dir() and covid_chestxray.recognised(path):
        sheet = covid_chestxray.read(path, source, images, prefix)
    elif images is not None or prefix is not None:
        raise LabelError("--images and --prefix are for the metadata sheet of covid-chestxray-dataset only")
    else:
        sheet = sheets.read(path, source)
    classes = known_classes(pool, new_classes)
    located = locate(pool, store, settings, sheet.rows)
    rows = [row for place, row in enumerate(sheet.rows) if place not in located.left_out]
    contents = [content for place, content in enumerate(located.contents) if place not in located.left_out]
    judged = judge(
        rows, [content or row.sha256 or row.key for row, content in zip(rows, contents, strict=True)], classes
    )
    files = {str(contents[place]): file for place in (*judged.taken, *judged.unknown) if (file := rows[place].file)}
    unreadable = store_files(pool, store, settings, files)
    said_at = datetime.now(UTC)

    def said(places: Sequence[int]) -> list[tuple[Row, str | None, datetime]]:
        return [(judged.rows[place], contents[place], said_at) for place in places if contents[place] not in unreadable]

    unmatched = [place for place in judged.taken if contents[place] is None]
    taken = said([place for place in judged.taken if contents[place] is not None])
    waiting = {UNKNOWN_CLASS: said(judged.unknown), NO_IMAGE: said(unmatched)}
    with database.transaction(pool) as cursor:
        kinds = _write(cursor, store.bucket, taken, waiting)
    spoiled = tuple(
        LeftOut(rows[place].line, rows[place].name, unreadable[content])
        for place in (*judged.taken, *judged.unknown)
        if (content := contents[place]) in unreadable
    )
    resolved = resolve_waiting(pool, store, settings, classes)
    refused = sorted((*located.left_out.values(), *judged.refused, *spoiled), key=lambda one: one.line)
    return Imported(
        rows=len(sheet.rows) + len(sheet.left_out),
        new=kinds["new"],
        changed=kinds["changed"],
        same=len(taken) - kinds["new"] - kinds["changed"],
        unknown=tuple(row for row, *_ in waiting[UNKNOWN_CLASS]),
        unmatched=tuple(row for row, *_ in waiting[NO_IMAGE]),
        refused=tuple(refused),
        left_out=sheet.left_out,
        notes=judged.notes,
        resolved=resolved,
        classes=classes,
        disputes=disputes(pool),
    )


def resolve_waiting(
    pool: sa.Engine, store: Store, settings: Settings, classes: Sequence[str] | None = None
) -> Resolved:
    """Try the labels again that wait: an image may have come meanwhile, a class may be known now.

    They count from when they were received, so a word that came later stands before them.

    Args:
        pool: connections to the database.
        store: the bucket whose labels are tried; looked into for images that no night has seen.
        settings: limits and prefixes of made data.
        classes: classes that are known; the project's, the champion's and those of labels if not given.

    Raises:
        StorageError: the bucket cannot be read.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("waiting_labels"), {"bucket": store.bucket})
        found = cursor.fetchall()
    if not found:
        return Resolved()
    rows = [
        Row(
            place, one.label, one.patient_id, one.source, one.object_key, one.content_sha256, None, one.view, one.sex,
            None if one.age is None else f"{one.age:g}", one.site,
        )
        for place, one in enumerate(found)
    ]  # fmt: skip
    known = classes or known_classes(pool)
    # The content that an older import found is what the label is about, whatever lies under the key now.
    located = locate(pool, store, settings, [replace(row, key=None) if row.sha256 else row for row in rows])
    why = [
        NO_IMAGE if content is None else UNKNOWN_CLASS if row.label not in known else None
        for row, content in zip(rows, located.contents, strict=True)
    ]
    ready = [place for place, reason in enumerate(why) if reason is None and place not in located.left_out]
    with database.transaction(pool) as cursor:
        # Another one may be at the same: who closes a waiting label writes it.
        cursor.execute(query("close_waiting"), {"waiting": [found[place].waiting_id for place in ready]})
        closed = {row.waiting_id for row in cursor.fetchall()}
        mine = [place for place in ready if found[place].waiting_id in closed]
        taken = [(rows[place], located.contents[place], found[place].received_at) for place in mine]
        _write(cursor, store.bucket, taken, {})
    return Resolved(
        len(mine), Counter(reason or NO_IMAGE for place, reason in enumerate(why) if place not in set(ready))
    )


def known_classes(pool: sa.Engine, new: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the project's classes, or the champion's where it has others; and those that labels were taken of before.

    Args:
        pool: connections to the database.
        new: classes to take beside them.
    """
    try:
        champions = model_versions.champion(pool).classes
    except model_versions.RegistryError:
        champions = CLASSES
    with database.transaction(pool) as cursor:
        cursor.execute(query("labelled_classes"))
        taken = [row.label for row in cursor.fetchall()]
    return tuple(dict.fromkeys((*(CLASSES if set(champions) <= set(CLASSES) else champions), *taken, *new)))


def images(pool: sa.Engine) -> int:
    """Count the images with a current label, wherever they lie."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("count_labelled_images"))
        return int(cursor.fetchall()[0].images)


def sources(pool: sa.Engine) -> dict[str, int]:
    """Count the images that each source has labelled, the busiest source first."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("label_counts"))
        return {row.name: row.images for row in cursor.fetchall() if row.what == "source"}


def disputes(pool: sa.Engine) -> Disputes:
    """Count the images whose sources disagree."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("label_disputes"))
        return Disputes(**cursor.fetchall()[0]._asdict())


Said = tuple[Row, str | None, datetime]
"""A row, the content that it is about, and when it was said."""


def _write(cursor: Cursor, bucket: str, taken: Sequence[Said], waiting: Mapping[str, Sequence[Said]]) -> Counter[str]:
    """Write labels and what waits; returns the numbers of labels by what became of them."""
    cursor.execute(query("label_tables"))
    database.copy(cursor, "word", (_values(place, *one) for place, one in enumerate(taken)))
    later = [(*_values(place, *one), why) for why, them in waiting.items() for place, one in enumerate(them)]
    database.copy(cursor, "waiting", later)
    cursor.execute(query("keep_waiting"), {"bucket": bucket})
    cursor.execute(query("write_labels"))
    return Counter({row.kind: row.labels for row in cursor.fetchall()})


def _values(place: int, row: Row, content: str | None, said_at: datetime) -> tuple[Any, ...]:
    return (
        place, row.key, content or row.sha256, row.label, row.patient, row.source, row.view, row.sex, row.age, row.site,
        said_at.isoformat(),
    )  # fmt: skip
