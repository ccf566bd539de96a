"""The registry: model versions, their artifacts in the object store, and which of them is champion."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra import database
from models import artifact
from sql.library import query

if TYPE_CHECKING:
    import sqlalchemy as sa

    from infra.storage import Store
    from models.artifact import ArtifactMetadata


class RegistryError(RuntimeError):
    """There is no champion, or no such model version."""


@dataclass(frozen=True, slots=True)
class Champion:
    """The model version that scores, as Postgres names it."""

    model_version: str
    artifact_key: str
    artifact_sha256: str
    classes: tuple[str, ...]
    preprocessing_hash: str
    made_data: bool


def champion(pool: sa.Engine) -> Champion:
    """Return the champion.

    Raises:
        RegistryError: nothing was ever promoted.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("champion"))
        row = cursor.fetchone()
    if row is None:
        raise RegistryError("there is no champion yet: train one with `cxr train FOLDER` (see `cxr train --help`)")
    return Champion(row[0], row[1], row[2], tuple(row[3]), row[4], row[5])


def register(pool: sa.Engine, store: Store, folder: Path, metadata: ArtifactMetadata) -> str:
    """Store an artifact and write its row; safe to repeat.

    Returns:
        The model version.
    """
    prefix = f"models/{metadata.model_version}"
    for name in artifact.FILES:
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
            },
        )
    return metadata.model_version


def bootstrap(pool: sa.Engine, model_version: str, unfit: str | None = None) -> bool:
    """Make a model version the first champion; False where there is a champion already.

    Args:
        pool: connections to the database.
        model_version: a registered one.
        unfit: why it is not fit for use, where that is known already; kept with the promotion.
    """
    reason = "the first model: nothing to compare with" + (f"; not fit for use: {unfit}" if unfit else "")
    with database.transaction(pool) as cursor:
        cursor.execute(
            "insert into cxr.promotions (model_version, kind, reason) select %s, 'bootstrap', %s "
            "where not exists (select from cxr.promotions) on conflict do nothing",
            (model_version, reason),
        )
        return cursor.rowcount == 1


def promote(pool: sa.Engine, model_version: str, reason: str) -> None:
    """Make a model version champion on a person's word.

    Raises:
        RegistryError: there is no such version, or it is champion already.
    """
    with database.transaction(pool) as cursor:
        cursor.execute(query("promote_by_hand"), {"model_version": model_version, "reason": reason})
        if cursor.rowcount != 1:
            raise RegistryError(f"{model_version} is no registered model version, or is champion already")


def fetch(store: Store, wanted: Champion, cache: Path) -> Path:
    """Return a folder with the champion's artifact, fetched once and verified by its sha256 each time.

    Raises:
        ArtifactError: what is stored is not what was registered.
        StorageError: it cannot be fetched.
    """
    folder = cache / "artifacts" / wanted.artifact_sha256
    if folder.is_dir():
        try:
            artifact.load(folder, wanted.artifact_sha256)
        except artifact.ArtifactError:
            shutil.rmtree(folder, ignore_errors=True)  # a damaged cache mends itself
    if not folder.is_dir():
        _download(store, wanted, folder)
    metadata = artifact.read_metadata(folder)
    if metadata.classes != wanted.classes or metadata.preprocessing.hash != wanted.preprocessing_hash:
        raise artifact.ArtifactError(
            f"{wanted.model_version}: classes or preprocessing in the artifact differ from the registry's row; "
            "promote another version or register this one again"
        )
    return folder


def _download(store: Store, wanted: Champion, folder: Path) -> None:
    """Fetch an artifact beside its folder and rename it once it is verified."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as temporary:
        fetched = Path(temporary) / "artifact"
        fetched.mkdir()
        for name in artifact.FILES:
            store.fetch(f"{wanted.artifact_key}/{name}", fetched / name)
        artifact.load(fetched, wanted.artifact_sha256)
        try:
            fetched.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
