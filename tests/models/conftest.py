"""A small trained model, its artifact and a cache of its conversion, made once for all tests of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import spots
from tests.support.spots import CLASSES, SMALL, Saved

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.training.train import TrainedModel
    from tests.support.spots import Data


@pytest.fixture(scope="session")
def make_data() -> Callable[[int], Data]:
    return spots.make_data


@pytest.fixture(scope="session")
def data() -> Data:
    return spots.make_data(240)


@pytest.fixture(scope="session")
def trained(data: Data) -> TrainedModel:
    from models.training.train import train

    return train(SMALL, data.images, data.labels, data.splits, CLASSES, seed=1)


@pytest.fixture(scope="session")
def saved(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    from models.serving.artifact import save

    folder = tmp_path_factory.mktemp("artifact")
    metadata = trained.metadata(data_fingerprint="f" * 64, code_version="0.1.0", made_data=True)
    return Saved(folder, save(folder, trained.model, metadata, trained.sample))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")
