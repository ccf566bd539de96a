"""Artifacts of models that never learned anything: their answers are arbitrary, but always the same."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.serving.artifact import read_metadata
from models.vocabulary import CLASSES
from tests.support.processes.once import once

if TYPE_CHECKING:
    from pathlib import Path

    from models.serving.artifact import ArtifactMetadata


@dataclass(frozen=True)
class Artifact:
    """A champion's artifact, and a state folder whose cache holds its conversion already."""

    folder: Path
    metadata: ArtifactMetadata
    home: Path


def untrained(folder: Path, home: Path, seed: int, size: int = 64) -> Artifact:
    """Save a model that never learned anything, and its conversion in the cache of a state folder."""
    from models.networks import architectures
    from models.radiographs.preprocessing import PreprocessingSpec
    from models.serving import artifact, conversion

    spec = PreprocessingSpec(height=size, width=size)
    model = architectures.build("compact_cnn", spec.shape, len(CLASSES), seed=seed)
    about = artifact.ArtifactMetadata(
        recipe="test", classes=CLASSES, preprocessing=spec, metrics={}, training={}, data_fingerprint="f" * 64,
        code_version="0", made_data=True,
    )  # fmt: skip
    inputs = np.random.default_rng(seed).integers(0, 256, (8, *spec.shape), dtype=np.uint8)
    about = artifact.save(folder, model, about, inputs)
    with pytest.MonkeyPatch.context() as patch:  # TensorFlow is here already, and need not be imported once more
        patch.setattr(conversion, "_convert", lambda *given: conversion.main(*map(str, given)))
        conversion.ensure_converted(artifact.load(folder, about.model_sha256), home / "cache")
    return Artifact(folder, about, home)


def untrained_once(shared: Path, name: str, home: Path, seed: int, size: int = 64) -> Artifact:
    """The same, made by the first process that wants it; each has a state folder of its own."""
    made = once(shared, name, lambda folder: untrained(folder / "artifact", folder / "home", seed, size))
    shutil.copytree(made / "home", home, dirs_exist_ok=True)
    return Artifact(made / "artifact", read_metadata(made / "artifact"), home)
