"""Labelled objects: match the rows of a sheet to image content, and store images that no night has scored."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from infra import database
from models.files import sha256_of
from models.radiographs.radiograph import Limits, Measurement
from sql.library import query
from tasks.labels.sheets import RowNote
from tasks.pages.publishing import content_type
from tasks.radiographs.fetching import LocalFile, Radiograph, StoredObject, measure, thread_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from infra.settings import Settings
    from infra.storage import ListedObject, Store
    from tasks.labels.sheets import Row

LABELLED_PREFIX: Final = "labelled/"
"""Key prefix of images that were imported with their labels. No night scores them."""
MAX_SINGLE_LOOKUPS: Final = 8
"""Up to this many keys of a folder are looked up one at a time; for more, the folder is listed once."""
FILE_MISSING: Final = "the file is not there"
HASH_MISMATCH: Final = "the image does not match its sha256"
FILE_CHANGED: Final = "the file changed during the import"


@dataclass(frozen=True, slots=True)
class Located:
    """The image content that each row is about."""

    contents: tuple[str | None, ...]
    """Sha256 of each row's image, in the order of the rows; None: the image has not been seen yet."""
    left_out: Mapping[int, RowNote]
    """By index: rows whose image cannot be read or does not match the row's sha256."""


def locate(pool: sa.Engine, store: Store, settings: Settings, rows: Sequence[Row]) -> Located:
    """Find the content that each row is about.

    A file is hashed. A key means the newest version that a night has seen. An object that no night has seen is fetched
    from the bucket, measured and recorded, so that its label need not wait for a night.

    Raises:
        StorageError: the bucket cannot be read.
    """
    files = _hash_files([row.file for row in rows if row.file])
    with database.transaction(pool) as cursor:
        cursor.execute(query("wanted_table"))
        database.copy(cursor, "wanted", {(row.key, row.sha256) for row in rows if not row.file and row.name})
        cursor.execute(query("match_labels"), {"bucket": store.bucket})
        seen = {(row.object_key, row.sha256): (row.by_key, row.by_sha256) for row in cursor.fetchall()}
    unseen = [row.key for row in rows if row.key and not row.file and not seen[row.key, row.sha256][0]]
    fetched = _fetch_unseen(pool, store, settings, unseen)
    contents: list[str | None] = []
    left_out = {}
    for place, row in enumerate(rows):
        if row.file:
            content, why = files[row.file], None if files[row.file] else FILE_MISSING
        else:
            by_key, by_sha256 = seen.get((row.key, row.sha256), (None, None))
            found = fetched.get(row.key or "")
            why = found.problem if found else None
            content = by_key or (found.content if found else None) or by_sha256
        if content and row.sha256 and row.sha256 != content:
            why = HASH_MISMATCH
        if why:
            left_out[place] = RowNote(row.line, row.name, why)
        contents.append(content)
    return Located(tuple(contents), left_out)


def store_files(pool: sa.Engine, store: Store, settings: Settings, files: Mapping[str, Path]) -> dict[str, str]:
    """Store images that the bucket does not hold yet, under keys derived from their content. Idempotent.

    Args:
        pool: connections to the database.
        store: the bucket.
        settings: the decoding limits.
        files: the file of each content, by sha256.

    Returns:
        The reason for each content that was not stored: its file cannot be decoded, or changed.

    Raises:
        StorageError: the store refuses or cannot be reached.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("stored_contents"), {"bucket": store.bucket, "contents": list(files)})
        known = {row.content_sha256 for row in cursor.fetchall()}
    limits = Limits(settings.max_bytes, settings.max_pixels)

    def put(content: str) -> tuple[str, Measurement] | str:
        """Store one image; return its key and measurement, or the reason why it was not stored."""
        found = measure(LocalFile(files[content]), limits)
        if found.measurement is None or not found.measurement.decodable:
            return found.problem or "not decodable"
        data = files[content].read_bytes()
        if not content == found.content == hashlib.sha256(data).hexdigest():
            return FILE_CHANGED
        key = f"{LABELLED_PREFIX}{content[:2]}/{content}{'.jpg' if found.measurement.format == 'JPEG' else '.png'}"
        store.write(key, data, content_type(key))
        return key, found.measurement

    fresh = [content for content in files if content not in known]
    with ThreadPoolExecutor(thread_count(settings.intake_threads)) as executor:
        outcomes = dict(zip(fresh, executor.map(put, fresh), strict=True))
    stored = [outcome for outcome in outcomes.values() if not isinstance(outcome, str)]
    listed = _list_keys(store, [key for key, _ in stored])
    _record(pool, store, [(listed[key], found) for key, found in stored if key in listed])
    return {content: outcome for content, outcome in outcomes.items() if isinstance(outcome, str)}


def _hash_files(files: Iterable[Path]) -> dict[Path, str | None]:
    def hash_file(path: Path) -> str | None:
        try:
            return sha256_of(path)
        except (FileNotFoundError, IsADirectoryError):
            return None

    distinct = list(dict.fromkeys(files))
    with ThreadPoolExecutor(thread_count(0)) as executor:
        return dict(zip(distinct, executor.map(hash_file, distinct), strict=True))


def _fetch_unseen(
    pool: sa.Engine, store: Store, settings: Settings, keys: Sequence[str]
) -> dict[str, Radiograph[None]]:
    """Fetch, measure and record objects; objects that are not in the bucket are absent from the result."""
    listed = _list_keys(store, keys)
    with database.transaction(pool) as cursor:
        cursor.execute(query("noted_versions"), {"bucket": store.bucket, "keys": list(listed)})
        noted = {(row.object_key, row.etag): row.content_sha256 for row in cursor.fetchall()}
    limits = Limits(settings.max_bytes, settings.max_pixels)
    made = tuple(settings.made_prefixes)

    def read(item: ListedObject) -> Radiograph[None]:
        if content := noted.get((item.key, item.etag)):
            return Radiograph(Measurement(n_bytes=item.size, sha256=content, decodable=True))
        return measure(StoredObject(store, item.key, item.etag, item.size, item.key.startswith(made)), limits)

    with ThreadPoolExecutor(thread_count(settings.intake_threads)) as executor:
        found = dict(zip(listed, executor.map(read, listed.values()), strict=True))
    seen = [(listed[key], radiograph.measurement) for key, radiograph in found.items() if radiograph.measurement]
    fresh = [(item, measured) for item, measured in seen if (item.key, item.etag) not in noted]
    _record(pool, store, [(item, measured) for item, measured in fresh if measured.decodable])
    return found


def _list_keys(store: Store, keys: Iterable[str]) -> dict[str, ListedObject]:
    """Return the listing of those keys that are in the bucket."""
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for key in keys:
        folder, slash, _ = key.rpartition("/")
        folders[folder + slash].add(key)
    prefixes = [
        prefix
        for folder, inside in folders.items()
        for prefix in ([folder] if len(inside) > MAX_SINGLE_LOOKUPS else inside)
    ]
    wanted = set().union(*folders.values())

    def look(prefix: str) -> list[ListedObject]:
        return [item for page in store.list(prefix) for item in page if item.key in wanted]

    with ThreadPoolExecutor(thread_count(0)) as executor:
        return {item.key: item for items in executor.map(look, prefixes) for item in items}


def _record(pool: sa.Engine, store: Store, objects: Sequence[tuple[ListedObject, Measurement]]) -> None:
    if not objects:
        return
    with database.transaction(pool) as cursor:
        cursor.execute(query("noted_table"))
        rows = (
            (found.sha256, store.bucket, item.key, item.etag, item.size, found.made, found.format, found.width,
             found.height, found.bit_depth, found.channels)
            for item, found in objects
        )  # fmt: skip
        database.copy(cursor, "noted", rows)
        cursor.execute(query("note_labelled_objects"))
