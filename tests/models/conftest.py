"""A small trained model, its artifact and a cache of its conversion, made once for all tests of a session."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support import spots
from tests.support.processes.eager import eager
from tests.support.processes.once import once
from tests.support.spots import CLASSES, SMALL, Saved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from models.training.train import TrainedModel
    from tests.support.spots import Data


@pytest.fixture
def eagerly() -> Iterator[None]:
    """See `tests.support.processes.eager`."""
    with eager():
        yield


@pytest.fixture(scope="session")
def make_data() -> Callable[[int], Data]:
    return spots.make_data


@pytest.fixture(scope="session")
def data() -> Data:
    return spots.make_data(240)


@pytest.fixture(scope="session")
def trained(data: Data, shared: Path) -> TrainedModel:
    from models.serving.artifact import open_model
    from models.training.train import train

    def make(folder: Path) -> None:
        made = train(SMALL, data.images, data.labels, data.splits, CLASSES, seed=1)
        made.model.save(folder / "model.keras")
        (folder / "rest.pickle").write_bytes(pickle.dumps(replace(made, model=None)))

    folder = once(shared, "trained", make)
    rest: TrainedModel = pickle.loads((folder / "rest.pickle").read_bytes())  # noqa: S301 - our own
    return replace(rest, model=open_model(folder / "model.keras", len(CLASSES)))


@pytest.fixture(scope="session")
def saved(trained: TrainedModel, shared: Path) -> Saved:
    from models.serving.artifact import read_metadata, save

    about = trained.metadata(data_fingerprint="f" * 64, code_version="0.1.0", made_data=True)
    folder = once(shared, "saved", lambda folder: save(folder, trained.model, about, trained.sample))
    return Saved(folder, read_metadata(folder))


@pytest.fixture(scope="session")
def cache(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of conversions that holds the saved model's, made in this process, which has TensorFlow already."""
    from models.serving import artifact, conversion

    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "_convert", lambda *given: conversion.main(*map(str, given)))
        conversion.ensure_converted(artifact.load(saved.folder, saved.metadata.model_sha256), folder)
    return folder
