"""The subject of an explanation: an image that a person names, read as a night reads it, and a model's answers.

The model runs in a process of its own (`tasks.training.jobs`), as in a retraining, so nothing here imports Keras.
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

JOBS_FOLDER: Final = "explaining"
STALE_AFTER_S: Final = 3600.0
"""An older job folder was left by a killed process. It is removed, since it holds a patient's pixels."""
MAX_ID_DIGITS: Final = 18
"""Digits. A longer number is not an image id (bigint) but an object key."""
HASH_SHOWN: Final = 12


class ExplainError(RuntimeError):
    """An image cannot be explained; the message says why and names no object."""


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image that a person named, fetched and measured."""

    radiograph: Radiograph[NDArray[np.uint8]]
    """Prepared as the model's input, (height, width, channels), if it is decodable."""
    description: str
    """How messages refer to it: image 12, the object, the file."""
    image_id: int | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """An image that a night would score."""

    name: str
    """image 12, or content and the start of its sha256."""
    content: str
    """Sha256 of the bytes."""
    made: bool
    pixels: NDArray[np.uint8]
    """The model's input, (height, width, channels)."""
    description: str


@dataclass(frozen=True, slots=True)
class PublishedPrediction:
    """A published prediction."""

    predicted: str
    probability: float
    model_version: str
    night: date
    runtime: str


def read_named_image(
    pool: sa.Engine, store: Store, settings: Settings, key: str, spec: PreprocessingSpec
) -> NamedImage:
    """Read the image that a person names: a local file, an image id or an object key, tried in this order.

    Args:
        pool: connections to the database.
        store: the bucket.
        settings: the limits, and the prefixes of made data.
        key: the file, id or key.
        spec: the model's preprocessing.

    Raises:
        ExplainError: there is no such image, or it cannot be read.
        StorageError: the store as a whole is unreachable.
    """
    path = Path(key)
    limits, prepare = Limits(settings.max_bytes, settings.max_pixels), partial(preprocess, spec=spec)
    if _is_file(path):
        read = read_radiograph(LocalFile(path), limits, prepare)
        if read.failure:
            raise ExplainError(read.failure)
        return NamedImage(read, "the file")
    by_id = key.isascii() and key.isdigit() and len(key) <= MAX_ID_DIGITS
    asked = {"bucket": store.bucket, "image_id": int(key) if by_id else None, "key": None if by_id else key}
    with database.transaction(pool) as cursor:
        cursor.execute(query("find_image"), asked)
        row = cursor.fetchone()
    if by_id and row is None:
        raise ExplainError("no image in this bucket has this id, and no file has this name")
    image_id, place, made = (row.image_id, row.object_key, row.made) if row else (None, key, False)
    description = f"image {image_id}" if by_id else "the object"
    made = made or place.startswith(tuple(settings.made_prefixes))
    version = row.etag if row and by_id else None  # an id means one version, a key the current object
    read = read_radiograph(StoredObject(store, place, version, row.size_bytes if row else None, made), limits, prepare)
    if read.failure and row is None:
        raise ExplainError("no image in the bucket has this key or id, and no file has this name")
    if read.measurement is None:
        raise ExplainError(f"{description} cannot be fetched: {read.failure}")
    if row and not by_id and row.content_sha256 != read.content:  # the object changed since a night saw it
        image_id = None
    return NamedImage(read, description, image_id)


def validate_image(image: NamedImage, limits: Limits) -> Subject:
    """Validate an image as a night does.

    Raises:
        ExplainError: a night would quarantine the image; the message gives the reason.
    """
    from tasks.validation import verdicts

    found, pixels = image.radiograph.measurement, image.radiograph.prepared
    if found is None:
        raise ExplainError(f"{image.description} could not be measured")
    place = image.image_id or 0
    (verdict,) = verdicts.validate([place], [found], limits).verdicts
    if not verdict.accepted or pixels is None or found.sha256 is None:
        raise ExplainError(f"{image.description} gets no answer: a night would quarantine it ({verdict.reason})")
    name = f"image {image.image_id}" if image.image_id else f"content {found.sha256[:HASH_SHOWN]}"
    return Subject(name, found.sha256, found.made, pixels, image.description)


def answer_images(
    store: Store, cache: Path, version: ModelVersion, images: NDArray[np.uint8],
    wanted: Sequence[tuple[int, int | None]], timeout_s: float | None = None,
) -> ModelAnswers:  # fmt: skip
    """Run a model on images in a process of its own, and explain some of its answers.

    Args:
        store: the bucket with the model's artifact.
        cache: a folder that is safe to delete. The job's files in it are removed at the end.
        version: the model.
        images: (n, height, width, channels), preprocessed for the model.
        wanted: the heat maps to make: an image's index, and a class index or None for the predicted class.
        timeout_s: seconds after which the process is killed; None: no limit.

    Raises:
        AnswersMissing: the process gave no answers.
        ArtifactError: the artifact is not the one that was registered.
        StorageError: the artifact cannot be fetched.
    """
    artifact = model_versions.fetch(store, version, cache)
    with _job_folder(cache) as folder:
        job = AnsweringJob(
            artifact=artifact,
            sha256=version.artifact_sha256,
            explain=tuple(wanted),
            batch_size=min(BATCH_SIZE, len(images)),
        )
        return jobs.answer_in_worker(folder, job, lambda file: np.save(file, images), timeout_s)


def published_prediction(pool: sa.Engine, content: str) -> PublishedPrediction | None:
    """Return the newest published prediction for a content, if there is one."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("said_of_content"), {"content": content})
        row = cursor.fetchone()
    return PublishedPrediction(**row._asdict()) if row else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a key may be longer than a path can be
        return False


@contextmanager
def _job_folder(cache: Path) -> Iterator[Path]:
    """Yield a private folder for one job, removed afterwards; also remove folders that killed jobs left."""
    place = cache / JOBS_FOLDER
    place.mkdir(mode=files.OWNER_ONLY, parents=True, exist_ok=True)
    for left in place.iterdir():
        with suppress(FileNotFoundError):  # its job may finish right now
            if left.stat().st_mtime < time.time() - STALE_AFTER_S:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
