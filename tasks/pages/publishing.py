"""Pages in the bucket or in a local file: where they are stored, how they are written, and links to them."""

from __future__ import annotations

import mimetypes
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

    from infra.settings import Settings
    from infra.storage import Store

REPORTS: Final = "reports/"
UPLOADS: Final = 8


def publish_folder(store: Store, source: Path, prefix: str) -> int:
    """Write all files below a folder into the bucket, in parallel, with the content types that browsers expect.

    Args:
        store: the bucket.
        source: the folder.
        prefix: the key prefix for the files' relative paths, with a trailing slash.

    Returns:
        The number of files.

    Raises:
        StorageError: the store refuses or cannot be reached.
    """
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]

    def upload(path: Path) -> None:
        key = prefix + path.relative_to(source).as_posix()
        store.write(key, path.read_bytes(), content_type(path.name))

    with ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload") as executor:
        list(executor.map(upload, files))
    return len(files)


def content_type(name: str) -> str:
    """Return the content type for a file name; text is UTF-8."""
    # Python's own table, not the machine's: content types must not depend on the machine that writes the page.
    kind, _ = mimetypes.MimeTypes().guess_type(name)
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind == "application/json" else kind


def link(settings: Settings, key: str) -> str:
    """Return the address of an object below reports/: a web address if one is configured, else s3://."""
    if settings.reports_url:
        return f"{settings.reports_url.rstrip('/')}/{quote(key.removeprefix(REPORTS))}"
    return f"s3://{settings.bucket}/{key}"


def unwritable(file: Path) -> str | None:
    """Return why a file cannot be written; None if it can."""
    if file.exists() and not file.is_file():  # a device, for example, which the rename would replace
        return f"{file} cannot be written: it is not a regular file"
    if not file.parent.is_dir():
        return f"{file} cannot be written: there is no folder {file.parent}; create it first"
    if not os.access(file.parent, os.W_OK):
        return f"{file} cannot be written: no permission to write into {file.parent}; choose another folder"
    return None
