"""Choose the runtime that scores: Keras on a GPU, OpenVINO on a CPU, or Keras on a CPU where neither is accurate.

A runtime scores radiographs only after it has reproduced the probabilities of the artifact's sample, which Keras
computed when the model was saved. The probabilities are stored, so neither Keras nor TensorFlow is imported where
OpenVINO has a converted model in its cache.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from models.serving import artifact as artifacts
from models.serving import devices, engines
from models.serving.conversion import ensure_converted
from models.serving.devices import cpu_precisions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from models.radiographs.preprocessing import PreprocessingSpec
    from models.serving.artifact import Artifact, ArtifactMetadata, Sample
    from models.serving.engines import Engine

__all__ = ["Runtime", "RuntimeChoice", "UnfitRuntimeError", "cpu_precisions", "gpu_names", "load_runtime"]

RuntimeChoice = Literal["auto", "openvino", "openvino-f32", "openvino-bf16", "keras"]

MAX_DIFFERENCE: Final = 1e-3
"""Allowed between a float32 runtime's probabilities and the stored ones."""
SUM_TOLERANCE: Final = 1e-2
"""Allowed between 1 and the sum of a row's probabilities: a bfloat16 softmax is off by some thousandths."""


class UnfitRuntimeError(RuntimeError):
    """A runtime cannot score this model as Keras does; the message says why in words."""


class Runtime:
    """A model ready to score, verified on its sample.

    It is not thread-safe: one thread scores while others decode.
    """

    def __init__(self, engine: Engine, metadata: ArtifactMetadata, notes: tuple[str, ...]) -> None:
        self._engine, self.metadata, self._notes = engine, metadata, notes
        self._initial_batch_size = engine.batch_size

    @property
    def name(self) -> str:
        """The runtime's name, as stored with each prediction: ``openvino-f32``, ``keras-jax-gpu-mixed_bfloat16`` ..."""
        return self._engine.name

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the run's notes: why this is not the preferred runtime, and whether batches were halved."""
        if self.batch_size == self._initial_batch_size:
            return self._notes
        halved = f"memory ran out: batches of {self.batch_size} instead of {self._initial_batch_size} images"
        return (*self._notes, halved)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the columns that `predict` returns."""
        return self.metadata.classes

    @property
    def spec(self) -> PreprocessingSpec:
        """How radiographs must be preprocessed for this model."""
        return self.metadata.preprocessing

    @property
    def batch_size(self) -> int:
        """Current number of images in a batch."""
        return self._engine.batch_size

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score preprocessed images.

        Args:
            images: uint8 (n, *spec.shape), for any n.

        Returns:
            Probabilities, float32 (n, classes). In half precision an image unlike those of the sample may overflow; its
            row is then not finite, and the caller must check for this.

        Raises:
            ValueError: the array has the wrong type or shape.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self.spec.shape:
            raise ValueError(
                f"images are {images.dtype} {images.shape}, but the model takes uint8 (n, *{self.spec.shape})"
            )
        if not len(images):
            return np.empty((0, len(self.classes)), np.float32)
        return self._engine(images)


@dataclass(frozen=True, slots=True)
class _Candidate:
    build: Callable[[], Engine]
    exact: bool
    """Probabilities may differ by `MAX_DIFFERENCE`; otherwise by any amount that changes no predicted class."""


def load_runtime(
    folder: Path,
    expected_sha256: str,
    cache: Path,
    choice: RuntimeChoice = "auto",
    batch_size: int = 32,
) -> Runtime:
    """Verify an artifact, choose a runtime and verify it on the stored sample.

    Args:
        folder: the artifact's.
        expected_sha256: of its model, from the registry.
        cache: folder for converted models, safe to delete.
        choice: `auto` tries a GPU if the Keras backend sees one, then OpenVINO (bf16 if the CPU supports it, then f32),
            then Keras on the CPU. `openvino` tries OpenVINO in bf16 and f32 only. `keras` tries a GPU, then the CPU.
            The others try that runtime only.
        batch_size: images in a batch; halved on a GPU when memory runs out.

    Raises:
        models.serving.artifact.ArtifactError: the artifact is not the registered one or cannot be opened.
        UnfitRuntimeError: no allowed runtime reproduces the sample's probabilities.
    """
    artifact = artifacts.load(folder, expected_sha256)
    notes: list[str] = []
    for candidate in _candidates(artifact, cache, choice, batch_size, notes):
        try:
            engine = candidate.build()
            _verify_on_sample(engine, artifact.sample, exact=candidate.exact)
        except UnfitRuntimeError as error:
            notes.append(str(error))
            continue
        return Runtime(engine, artifact.metadata, tuple(notes))
    raise UnfitRuntimeError(
        f"no runtime scores {artifact.metadata.model_version} as Keras did when it was saved: {'; '.join(notes)}"
    )


def _candidates(
    artifact: Artifact, cache: Path, choice: RuntimeChoice, batch_size: int, notes: list[str]
) -> Iterator[_Candidate]:
    """Yield the allowed runtimes in order of preference; adds what is found out about GPUs to `notes`."""
    if choice in ("auto", "keras"):
        gpus = _gpus(notes)
        if not gpus and not notes and sys.platform.startswith("linux") and devices.may_have_gpu():
            notes.append("this machine seems to have a GPU, but the Keras backend does not see it")
        if gpus:
            policy = gpus[0].dtype_policy
            if policy != "float32":
                yield _Candidate(lambda: _keras_on_gpu(artifact, batch_size, policy), exact=False)
            # GPUs round float32 inputs of convolutions (TF32), so they need not be as exact as the CPU.
            yield _Candidate(lambda: _keras_on_gpu(artifact, batch_size), exact=False)
    if choice != "keras":
        if choice == "openvino-bf16" or (choice in ("auto", "openvino") and "bf16" in cpu_precisions()):
            yield _Candidate(lambda: _openvino(artifact, cache, "bf16", batch_size), exact=False)
        if choice != "openvino-bf16":
            yield _Candidate(lambda: _openvino(artifact, cache, "f32", batch_size), exact=True)
    if choice in ("auto", "keras"):
        yield _Candidate(lambda: _keras(artifact, batch_size, gpu=False), exact=True)


def gpu_names() -> list[str]:
    """Return the names of the GPUs that the Keras backend sees."""
    return [gpu.name for gpu in devices.available_gpus()]


def _openvino(artifact: Artifact, cache: Path, precision: Literal["f32", "bf16"], batch_size: int) -> Engine:
    if precision == "bf16" and "bf16" not in cpu_precisions():
        raise UnfitRuntimeError("openvino-bf16 does not score: this processor has no bfloat16 arithmetic")
    try:
        return engines.OpenVinoEngine(ensure_converted(artifact, cache), precision, batch_size)
    except (ImportError, OSError, RuntimeError) as error:  # OpenVINO raises RuntimeError
        raise UnfitRuntimeError(f"openvino-{precision} does not score: {_first_line(error)}") from error


def _gpus(notes: list[str]) -> list[devices.Gpu]:
    """Return the GPUs; an error of the backend or driver becomes a note, because the CPU can still score."""
    try:
        return devices.available_gpus()
    except Exception as error:  # noqa: BLE001 - backends and drivers raise anything
        notes.append(f"the Keras backend cannot say whether there is a GPU: {_first_line(error)}")
        return []


def _keras_on_gpu(artifact: Artifact, batch_size: int, policy: str = "float32") -> Engine:
    try:
        return _keras(artifact, batch_size, gpu=True, policy=policy)
    except Exception as error:
        # An ArtifactError too: reading the model fails on a full GPU. If the file is at fault, the CPU will report it.
        raise UnfitRuntimeError(f"keras on the GPU ({policy}) does not score: {_first_line(error)}") from error


def _keras(artifact: Artifact, batch_size: int, *, gpu: bool, policy: str = "float32") -> Engine:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    # In PyTorch a model stays on the device it was read to; in other backends this scope places the computation.
    with keras.device("gpu:0" if gpu else "cpu:0"):
        return engines.KerasEngine(artifact.open_model(), batch_size, gpu=gpu, policy=policy)


def _verify_on_sample(engine: Engine, sample: Sample, *, exact: bool) -> None:
    """Raise `UnfitRuntimeError` if the engine does not reproduce the sample's probabilities."""
    try:
        probabilities = engine(sample.inputs)
    except Exception as error:  # drivers raise anything, and the next runtime may work
        raise UnfitRuntimeError(f"{engine.name} does not score: {_first_line(error)}") from error
    _require_probabilities(probabilities, engine.name)
    difference = float(np.abs(probabilities - sample.probabilities).max())
    changed = int((probabilities.argmax(axis=1) != sample.probabilities.argmax(axis=1)).sum())
    if exact and difference > MAX_DIFFERENCE:
        raise UnfitRuntimeError(
            f"{engine.name} does not score: its probabilities differ from Keras's by up to {difference:.2g} on the "
            f"stored sample, but only {MAX_DIFFERENCE:g} is allowed"
        )
    if not exact and changed:
        raise UnfitRuntimeError(
            f"{engine.name} does not score: it changes the predicted class of {changed} of {len(probabilities)} images "
            "of the stored sample"
        )


def _require_probabilities(probabilities: NDArray[np.float32], name: str) -> None:
    if not np.isfinite(probabilities).all():
        raise UnfitRuntimeError(f"{name} does not score: its outputs are not all finite")
    if np.abs(probabilities.sum(axis=1) - 1).max() > SUM_TOLERANCE or probabilities.min() < -SUM_TOLERANCE:
        raise UnfitRuntimeError(f"{name} does not score: its outputs are not probabilities that sum to 1")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
