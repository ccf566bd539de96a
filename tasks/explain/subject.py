"""Explaining: an image that a person names, read as a night reads it, and what a model answers and where it looked.

The model answers in the worker's process (`tasks.training.jobs`), as in retrainings: nothing here imports Keras.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from infra import database
from models import files
from models.radiographs.preprocessing import preprocess
from models.radiographs.radiograph import Limits
from models.training.job import BATCH_SIZE, AnsweringJob
from sql.library import query
from tasks.radiographs.fetching import LocalFile, StoredObject, read_radiograph
from tasks.registry import model_versions
from tasks.training import jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from infra.settings import Settings
    from infra.storage import Store
    from models.radiographs.preprocessing import PreprocessingSpec
    from tasks.radiographs.fetching import Radiograph
    from tasks.registry.model_versions import ModelVersion
    from tasks.training.jobs import ModelAnswers

FOLDER: Final = "explaining"
LEFT_BEHIND_S: Final = 3600.0
"""A job's folder that is older was left by a process that was killed; it holds a patient's pixels."""
LONGEST_ID: Final = 18
"""Digits; more are no image id (bigint) but an object's key."""
HASH_SHOWN: Final = 12


class ExplainError(RuntimeError):
    """An image cannot be explained; the message says why and names no object."""


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image that a person named, as it was read."""

    radiograph: Radiograph[NDArray[np.uint8]]
    """Measured, and prepared as the model's input where it is decodable."""
    what: str
    """image 12, the object, the file: what people are told that it is."""
    image_id: int | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """An image that a night would score."""

    name: str
    """image 12, or the start of its content's hash."""
    content: str
    """sha256 of the bytes."""
    made: bool
    pixels: NDArray[np.uint8]
    """The model's input, (height, width, channels)."""
    what: str


@dataclass(frozen=True, slots=True)
class Said:
    """A published prediction."""

    predicted: str
    probability: float
    model_version: str
    night: date
    runtime: str


def find(pool: sa.Engine, store: Store, settings: Settings, key: str, spec: PreprocessingSpec) -> NamedImage:
    """Read what a person names: a file of this machine, an image's id, or an object's key, in this order.

    Args:
        pool: connections to the database.
        store: the bucket.
        settings: limits and prefixes of made data.
        key: what the person names.
        spec: the model's preprocessing.

    Raises:
        ExplainError: there is no such image, or it cannot be read.
        StorageError: the store as a whole is out of reach.
    """
    path = Path(key)
    limits, prepare = Limits(settings.max_bytes, settings.max_pixels), partial(preprocess, spec=spec)
    if _is_file(path):
        read = read_radiograph(LocalFile(path), limits, prepare)
        if read.failure:
            raise ExplainError(read.failure)
        return NamedImage(read, "the file")
    by_id = key.isascii() and key.isdigit() and len(key) <= LONGEST_ID
    asked = {"bucket": store.bucket, "image_id": int(key) if by_id else None, "key": None if by_id else key}
    with database.transaction(pool) as cursor:
        cursor.execute(query("find_image"), asked)
        row = cursor.fetchone()
    if by_id and row is None:
        raise ExplainError("no image of this bucket has this id, and there is no file of this name")
    image_id, place, made = (row.image_id, row.object_key, row.made) if row else (None, key, False)
    what = f"image {image_id}" if by_id else "the object"
    made = made or place.startswith(tuple(settings.made_prefixes))
    version = row.etag if row and by_id else None  # an id means one version, a key what lies there now
    read = read_radiograph(StoredObject(store, place, version, row.size_bytes if row else None, made), limits, prepare)
    if read.failure and row is None:
        raise ExplainError("there is no image of this key or id in the bucket, and no file of this name")
    if read.measurement is None:
        raise ExplainError(f"{what} cannot be fetched: {read.failure}")
    if row and not by_id and row.content_sha256 != read.content:  # what lies there was not looked at yet
        image_id = None
    return NamedImage(read, what, image_id)


def admit(image: NamedImage, limits: Limits) -> Subject:
    """Validate an image as a night does.

    Raises:
        ExplainError: a night would quarantine it; the message says for what.
    """
    from tasks.validation import verdicts

    found, pixels = image.radiograph.measurement, image.radiograph.prepared
    if found is None:
        raise ExplainError(f"{image.what} could not be measured")
    place = image.image_id or 0
    (verdict,) = verdicts.validate([place], [found], limits).verdicts
    if not verdict.accepted or pixels is None or found.sha256 is None:
        raise ExplainError(f"{image.what} has no answer: a night quarantines it ({verdict.reason})")
    name = f"image {image.image_id}" if image.image_id else f"content {found.sha256[:HASH_SHOWN]}"
    return Subject(name, found.sha256, found.made, pixels, image.what)


def answers(
    store: Store, cache: Path, version: ModelVersion, images: NDArray[np.uint8],
    wanted: Sequence[tuple[int, int | None]], timeout_s: float | None = None,
) -> ModelAnswers:  # fmt: skip
    """Let a model answer images, and explain some of its answers, in a process of its own.

    Args:
        store: where its artifact lies.
        cache: folder that is safe to delete; what the process works on is removed from it.
        version: the model.
        images: (n, height, width, channels), preprocessed for it.
        wanted: heat maps to make: an image's row, and a class's place or None for the class that is predicted.
        timeout_s: after which the process is ended.

    Raises:
        AnswersMissing: it did not answer.
        ArtifactError: the artifact is not the one that was registered.
        StorageError: the artifact cannot be fetched.
    """
    artifact = model_versions.fetch(store, version, cache)
    with _workbench(cache) as folder:
        job = AnsweringJob(
            artifact=artifact,
            sha256=version.artifact_sha256,
            explain=tuple(wanted),
            batch_size=min(BATCH_SIZE, len(images)),
        )
        return jobs.answer_in_worker(folder, job, lambda file: np.save(file, images), timeout_s)


def said(pool: sa.Engine, content: str) -> Said | None:
    """Return the newest published prediction of a content, if there is one."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("said_of_content"), {"content": content})
        row = cursor.fetchone()
    return Said(**row._asdict()) if row else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a key may be longer than a path can be
        return False


@contextmanager
def _workbench(cache: Path) -> Iterator[Path]:
    """Give a folder for one job, which opens for its owner only and is gone afterwards."""
    place = cache / FOLDER
    place.mkdir(mode=files.OWNER_ONLY, parents=True, exist_ok=True)
    for left in place.iterdir():
        with suppress(FileNotFoundError):  # another one is done with it just now
            if left.stat().st_mtime < time.time() - LEFT_BEHIND_S:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
