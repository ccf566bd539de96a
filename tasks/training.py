"""Training: from a data set to a registered model version."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from infra.version import code_version
from tasks import registry

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from infra.storage import Store
    from models.recipes import Recipe
    from tasks.datasets import Dataset


def train_and_register(
    pool: sa.Engine, store: Store, recipe: Recipe, data: Dataset, *, seed: int, epochs: int | None,
    budget_s: float | None, say: Callable[[str], None],
) -> str:  # fmt: skip
    """Train a recipe, store the artifact, write its row; the first version ever becomes champion.

    Returns:
        What came of it, in words.

    Raises:
        TrainingError: the data set does not suffice.
        StorageError: the artifact cannot be stored.
    """
    from models import artifact
    from models.training import train

    def tell(epoch: int, figures: dict[str, float]) -> None:
        say(f"epoch {epoch}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))

    trained = train(
        recipe, data.images, data.labels, data.patients, data.classes,
        seed=seed, epochs=epochs, time_budget_s=budget_s, on_epoch=tell,
    )  # fmt: skip
    metadata = trained.metadata(data_fingerprint=data.fingerprint, code_version=code_version(), made_data=data.made)
    with tempfile.TemporaryDirectory() as folder:
        metadata = artifact.save(Path(folder), trained.model, metadata, trained.sample)
        version = registry.register(pool, store, Path(folder), metadata)
    accuracy = trained.metrics.get("accuracy")
    figures = "no test images" if accuracy is None else f"test accuracy {accuracy:.3f}"
    if registry.bootstrap(pool, version):
        return f"{version} is registered and, as the first one, champion ({figures})"
    return f"{version} is registered ({figures}); the champion stays: `cxr promote {version}` changes that"
