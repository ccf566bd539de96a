"""Labelled objects: which content each row of a sheet is about, and where images lie that no night has scored."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import cv2

from infra import database
from infra.storage import ObjectError
from models.radiographs.radiograph import Limits, Measurement, read
from sql.library import query
from tasks.labels.sheets import LeftOut
from tasks.pages.publishing import content_type
from tasks.radiographs.fetching import threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from infra.settings import Settings
    from infra.storage import Listed, Store
    from tasks.labels.sheets import Row

FOLDER: Final = "labelled/"
"""Where images lie that came in together with their labels. No night scores them."""
ONE_BY_ONE: Final = 8
"""Keys of one folder that are asked for singly; for more, the folder is listed once."""
GONE: Final = "the file is not there"
ANOTHER: Final = "the image is another one than its sha256 says"


@dataclass(frozen=True, slots=True)
class Located:
    """What the rows are about; all three are in the rows' order, but `left_out`."""

    contents: tuple[str | None, ...]
    """Sha256 of each row's image; None: nobody has seen such an image."""
    left_out: Mapping[int, LeftOut]
    """Rows, by their place, whose image is there and cannot be read, or is another one than the row says."""


def locate(pool: sa.Engine, store: Store, settings: Settings, rows: Sequence[Row]) -> Located:
    """Find the content that each row is about.

    A file is hashed. A key stands for the newest version that a night has seen; what no night has seen is fetched from
    the bucket, measured, and noted, so that labels do not have to wait for a night.

    Raises:
        StorageError: the bucket cannot be read.
    """
    cv2.setNumThreads(1)
    files = _hashed([row.file for row in rows if row.file])
    with database.transaction(pool) as cursor:
        cursor.execute(query("wanted_table"))
        database.copy(cursor, "wanted", {(row.key, row.sha256) for row in rows if not row.file and row.name})
        cursor.execute(query("match_labels"), {"bucket": store.bucket})
        seen = {(row.object_key, row.sha256): (row.by_key, row.by_sha256) for row in cursor.fetchall()}
    unseen = [row.key for row in rows if row.key and not row.file and not seen[row.key, row.sha256][0]]
    fetched = _fetched(pool, store, settings, unseen)
    contents: list[str | None] = []
    left_out = {}
    for place, row in enumerate(rows):
        if row.file:
            content, why = files[row.file], None if files[row.file] else GONE
        else:
            by_key, by_sha256 = seen.get((row.key, row.sha256), (None, None))
            found = fetched.get(row.key or "")
            why = found.problem if found and not found.decodable else None
            content = by_key or (found.sha256 if found else None) or by_sha256
        if content and row.sha256 and row.sha256 != content:
            why = ANOTHER
        if why:
            left_out[place] = LeftOut(row.line, row.name, why)
        contents.append(content)
    return Located(tuple(contents), left_out)


def store_files(pool: sa.Engine, store: Store, settings: Settings, files: Mapping[str, Path]) -> dict[str, str]:
    """Put images into the bucket that it does not hold yet, under a key made of their content; safe to repeat.

    Args:
        pool: connections to the database.
        store: the bucket.
        settings: the limits on what is decoded.
        files: where the image of each content lies.

    Returns:
        Contents that were not stored because they cannot be decoded, with the reason in words.

    Raises:
        StorageError: the store refuses or cannot be reached.
    """
    cv2.setNumThreads(1)
    with database.transaction(pool) as cursor:
        cursor.execute(query("stored_contents"), {"bucket": store.bucket, "contents": list(files)})
        known = {row.content_sha256 for row in cursor.fetchall()}
    limits = Limits(settings.max_bytes, settings.max_pixels)

    def put(content: str) -> tuple[str, Measurement]:
        data = files[content].read_bytes()
        pixels, found = read(data, limits)
        key = f"{FOLDER}{content[:2]}/{content}{'.jpg' if found.format == 'JPEG' else '.png'}"
        if pixels is not None:
            store.write(key, data, content_type(key))
        return key, replace(found, sha256=content)

    with ThreadPoolExecutor(threads(settings.intake_threads)) as executor:
        outcomes = list(executor.map(put, [one for one in files if one not in known]))
    listed = _listed(store, [key for key, found in outcomes if found.decodable])
    _note(pool, store, [(listed[key], found) for key, found in outcomes if key in listed])
    return {str(found.sha256): str(found.problem) for _, found in outcomes if not found.decodable}


def _hashed(files: Iterable[Path]) -> dict[Path, str | None]:
    def one(path: Path) -> str | None:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, IsADirectoryError):
            return None

    distinct = list(dict.fromkeys(files))
    with ThreadPoolExecutor(threads(0)) as executor:
        return dict(zip(distinct, executor.map(one, distinct), strict=True))


def _fetched(pool: sa.Engine, store: Store, settings: Settings, keys: Sequence[str]) -> dict[str, Measurement]:
    """Fetch, measure and note objects; those that are not there are missing in the result."""
    listed = _listed(store, keys)
    with database.transaction(pool) as cursor:
        cursor.execute(query("noted_versions"), {"bucket": store.bucket, "keys": list(listed)})
        noted = {(row.object_key, row.etag): row.content_sha256 for row in cursor.fetchall()}
    limits = Limits(settings.max_bytes, settings.max_pixels)
    made = tuple(settings.made_prefixes)

    def one(item: Listed) -> Measurement:
        if content := noted.get((item.key, item.etag)):
            return Measurement(n_bytes=item.size, sha256=content, decodable=True)
        if item.size > limits.max_bytes:
            problem = f"the file has {item.size:,} bytes, more than the limit of {limits.max_bytes:,}"
            return Measurement(n_bytes=item.size, sha256=None, problem=problem)
        try:
            found = read(store.read(item.key, item.etag), limits)[1]
        except ObjectError as error:
            return Measurement(n_bytes=item.size, sha256=None, problem=str(error))
        return replace(found, made=True) if item.key.startswith(made) else found

    with ThreadPoolExecutor(threads(settings.intake_threads)) as executor:
        found = dict(zip(listed, executor.map(one, listed.values()), strict=True))
    fresh = [(listed[key], measured) for key, measured in found.items() if measured.decodable]
    _note(pool, store, [(item, measured) for item, measured in fresh if (item.key, item.etag) not in noted])
    return found


def _listed(store: Store, keys: Iterable[str]) -> dict[str, Listed]:
    """Return those of the keys that are in the bucket."""
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for key in keys:
        folder, slash, _ = key.rpartition("/")
        folders[folder + slash].add(key)
    prefixes = [
        prefix for folder, inside in folders.items() for prefix in ([folder] if len(inside) > ONE_BY_ONE else inside)
    ]
    wanted = set().union(*folders.values())

    def look(prefix: str) -> list[Listed]:
        return [item for page in store.list(prefix) for item in page if item.key in wanted]

    with ThreadPoolExecutor(threads(0)) as executor:
        return {item.key: item for items in executor.map(look, prefixes) for item in items}


def _note(pool: sa.Engine, store: Store, objects: Sequence[tuple[Listed, Measurement]]) -> None:
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
