"""Labels: ground truth that people bring in, kept by image content with its source."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from infra import database
from sql.library import query

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

COLUMNS = ("object_key", "class", "patient_id")


class LabelError(RuntimeError):
    """The sheet cannot be read."""


def add(pool: sa.Engine, bucket: str, sheet: Path, source: str) -> tuple[int, int]:
    """Read a CSV sheet (object_key, class, patient_id) into the labels; a source's newer label replaces its older one.

    Returns:
        Labels written, and rows of the sheet. Rows without a known image (never scored here) are not written.

    Raises:
        LabelError: a column is missing.
    """
    with sheet.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise LabelError(f"{sheet} needs the columns {', '.join(COLUMNS)}")
        rows = [tuple(row[name] for name in COLUMNS) for row in reader]
    with database.transaction(pool) as cursor:
        cursor.execute(
            "create temporary table sheet (object_key text, class text not null, patient_id text not null) "
            "on commit drop"
        )
        database.copy(cursor, "sheet", rows)
        cursor.execute(query("add_labels"), {"bucket": bucket, "source": source})
        return cursor.rowcount, len(rows)
