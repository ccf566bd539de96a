"""Training: from a data set to a registered model version."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.version import code_version
from tasks import registry
from tasks.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from infra.storage import Store
    from models.recipes import Recipe
    from tasks.datasets import Dataset


@dataclass(frozen=True, slots=True)
class Registered:
    """A model version that was trained and registered."""

    model_version: str
    first: bool
    """It is the first one, and so champion."""
    accuracy: float | None
    """On the test images; None where there are none."""
    test_images: int
    warning: str | None
    """Why it is not fit for use, see `models.metrics.unfit`."""

    def __str__(self) -> str:
        """What came of it, in words."""
        figures = (
            "no test images"
            if self.accuracy is None
            else f"test accuracy {self.accuracy:.3f} on {counted(self.test_images, 'test image')}"
        )
        said = f"{self.model_version} is registered"
        said += f" and, as the first one, champion ({figures})" if self.first else f" ({figures})"
        return f"{said}\nWARNING: this model is not fit for use: {self.warning}" if self.warning else said


def train_and_register(
    pool: sa.Engine, store: Store, recipe: Recipe, data: Dataset, *, seed: int, epochs: int | None,
    budget_s: float | None, say: Callable[[str], None],
) -> Registered:  # fmt: skip
    """Train a recipe, store the artifact, write its row; the first version ever becomes champion.

    Raises:
        TrainingError: the data set does not suffice.
        StorageError: the artifact cannot be stored.
    """
    from models import artifact
    from models.metrics import unfit
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
    warning = unfit(trained.metrics)
    return Registered(
        model_version=version,
        first=registry.bootstrap(pool, version, warning),
        accuracy=trained.metrics["accuracy"],
        test_images=trained.metrics["n"],
        warning=warning,
    )
