"""The registry: model versions, their artifacts in the object store, and which of them is champion."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import database
from infra.storage import ObjectError
from models import files
from models.radiographs.preprocessing import PreprocessingSpec
from models.serving import artifact
from sql.library import query

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from infra.storage import Store
    from models.serving.artifact import ArtifactMetadata


class RegistryError(RuntimeError):
    """There is no champion, or no such model version."""


class NoChampionError(RegistryError):
    """No model version has ever been promoted."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A model version as registered in Postgres."""

    model_version: str
    recipe: str
    artifact_key: str
    artifact_sha256: str
    classes: tuple[str, ...]
    preprocessing: PreprocessingSpec
    preprocessing_hash: str
    made_data: bool

    @classmethod
    def from_row(cls, row: Any) -> ModelVersion:
        """Return the model version in a row that has a column for each field.

        Raises:
            RegistryError: this code does not know the version's preprocessing.
        """
        try:
            preprocessing = PreprocessingSpec.from_dict(row.preprocessing)
        except ValueError as error:
            raise RegistryError(
                f"{row.model_version}: {error}; use the code version that trained it, or train a new model"
            ) from None
        return cls(
            model_version=row.model_version,
            recipe=row.recipe,
            artifact_key=row.artifact_key,
            artifact_sha256=row.artifact_sha256,
            classes=tuple(row.classes),
            preprocessing=preprocessing,
            preprocessing_hash=row.preprocessing_hash,
            made_data=row.made_data,
        )


def champion(pool: sa.Engine) -> ModelVersion:
    """Return the champion.

    Raises:
        NoChampionError: no model version has ever been promoted.
    """
    found = _read_one(pool, "champion")
    if found is None:
        raise NoChampionError("there is no champion yet: import labels (`cxr labels import`), then run `cxr retrain`")
    return found


def shadow(pool: sa.Engine) -> ModelVersion | None:
    """Return the shadow: the model version that scores alongside the champion, if there is one."""
    return _read_one(pool, "shadow")


def require(pool: sa.Engine, name: str) -> ModelVersion:
    """Return a model version by its name.

    Raises:
        RegistryError: no model version has this name.
    """
    found = _read_one(pool, "model_version", name)
    if found is None:
        raise RegistryError(f"there is no model version {name}; analysis.model_versions lists them")
    return found


def newest(pool: sa.Engine) -> ModelVersion:
    """Return the model version that was registered last.

    Raises:
        RegistryError: there is no model version.
    """
    found = _read_one(pool, "newest_model_version")
    if found is None:
        raise RegistryError("there is no model version yet: `cxr retrain` trains one")
    return found


def by_training_key(pool: sa.Engine, key: str) -> str | None:
    """Return the model version that an earlier run of this training produced, if any."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("model_version_of_training"), {"training_key": key})
        row = cursor.fetchone()
    return row.model_version if row else None


def register(
    pool: sa.Engine, store: Store, folder: Path, metadata: ArtifactMetadata, training_key: str | None = None
) -> str:
    """Store an artifact and write its row. Idempotent.

    Args:
        pool: connections to the database.
        store: the bucket for the artifact.
        folder: the folder with the artifact.
        metadata: the artifact's metadata, as in the folder.
        training_key: hash of data, recipe and seed. If a model with this key exists, nothing is stored.

    Returns:
        The name of the model version, or of the earlier one with the same training key.
    """
    if training_key and (earlier := by_training_key(pool, training_key)):
        return earlier
    prefix = f"models/{metadata.model_version}"
    for name in artifact.ARTIFACT_FILES:
        store.write(f"{prefix}/{name}", (folder / name).read_bytes())
    with database.transaction(pool) as cursor:
        cursor.execute(
            query("register_model"),
            {
                "model_version": metadata.model_version,
                "recipe": metadata.recipe,
                "artifact_key": prefix,
                "artifact_sha256": metadata.model_sha256,
                "classes": list(metadata.classes),
                "preprocessing": json.dumps(metadata.preprocessing.to_dict()),
                "preprocessing_hash": metadata.preprocessing.hash,
                "metrics": json.dumps(metadata.metrics),
                "data_fingerprint": metadata.data_fingerprint,
                "code_version": metadata.code_version,
                "training": json.dumps(metadata.training),
                "made_data": metadata.made_data,
                "training_key": training_key,
            },
        )
    # Another process may have finished the same training meanwhile: the first row counts for both.
    return (by_training_key(pool, training_key) if training_key else None) or metadata.model_version


def fetch(store: Store, version: ModelVersion, cache: Path) -> Path:
    """Return the folder of a model version's artifact, fetched once and verified by its sha256 each time.

    Raises:
        ArtifactError: the stored artifact is missing or is not the registered one.
        StorageError: the store as a whole is unreachable.
    """
    folder = cache / "artifacts" / version.artifact_sha256
    if folder.is_dir():
        try:
            artifact.load(folder, version.artifact_sha256)
        except artifact.ArtifactError:
            shutil.rmtree(folder, ignore_errors=True)  # fetched again below
    if not folder.is_dir():
        _download(store, version, folder)
    metadata = artifact.read_metadata(folder)
    if metadata.classes != version.classes or metadata.preprocessing.hash != version.preprocessing_hash:
        raise artifact.ArtifactError(
            f"{version.model_version}: classes or preprocessing in the artifact differ from the registry's row; "
            "promote another version or register this one again"
        )
    return folder


def _read_one(pool: sa.Engine, query_name: str, name: str | None = None) -> ModelVersion | None:
    """Read the only row of a query's result, if there is one."""
    with database.transaction(pool) as cursor:
        cursor.execute(query(query_name), {"model_version": name})
        row = cursor.fetchone()
    return ModelVersion.from_row(row) if row else None


def _download(store: Store, version: ModelVersion, folder: Path) -> None:
    """Fetch and verify an artifact. The folder appears only after the verification."""
    # An artifact's sample holds patients' pixels.
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with files.atomic_folder(folder, several_writers=True) as fetched:
            for name in artifact.ARTIFACT_FILES:
                try:
                    store.fetch(f"{version.artifact_key}/{name}", fetched / name)
                except ObjectError as error:
                    raise artifact.ArtifactError(
                        f"{version.model_version}: {name} of its artifact cannot be fetched ({error}): restore the "
                        "bucket's models/ from its backup"
                    ) from None
            artifact.load(fetched, version.artifact_sha256)
    except OSError:
        if not folder.is_dir():  # if it exists, another process was faster
            raise
