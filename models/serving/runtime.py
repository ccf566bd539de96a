"""Choose what scores: Keras on a GPU, OpenVINO on a CPU, Keras where neither answers as it should.

No runtime scores a radiograph before it has answered the artifact's stored sample as Keras did when the model was
saved. The sample's probabilities are in the artifact, so neither Keras nor TensorFlow is imported where OpenVINO has a
converted model in its cache.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from models.serving import artifact as artifacts
from models.serving import devices, engines
from models.serving.conversion import converted
from models.serving.devices import processor_precisions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from models.radiographs.preprocessing import PreprocessingSpec
    from models.serving.artifact import Artifact, ArtifactMetadata, Sample
    from models.serving.engines import Engine

__all__ = ["Choice", "Runtime", "RuntimeUnfit", "gpu_names", "load_runtime", "processor_precisions"]

Choice = Literal["auto", "openvino", "openvino-f32", "openvino-bf16", "keras"]

LARGEST_DIFFERENCE: Final = 1e-3
"""Between a float32 runtime's probabilities and the stored ones."""
SUM_TOLERANCE: Final = 1e-2
"""Of a row's probabilities to 1: a bfloat16 softmax is off by some thousandths."""


class RuntimeUnfit(RuntimeError):  # noqa: N818 - reads as what it says, and is caught to try the next runtime
    """A runtime cannot score this model as Keras does; the message says why in words."""


class Runtime:
    """A model ready to score, held against its sample.

    Not for several threads at once: one thread scores while others decode.
    """

    def __init__(self, engine: Engine, metadata: ArtifactMetadata, notes: tuple[str, ...]) -> None:
        self._engine, self.metadata, self._notes = engine, metadata, notes
        self._batch_size = engine.batch_size

    @property
    def name(self) -> str:
        """What scores, as stored with each row: ``openvino-f32``, ``keras-jax-gpu-mixed_bfloat16`` ..."""
        return self._engine.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What the run should say: why another runtime than the first choice scores, and if batches were halved."""
        if self.batch_size == self._batch_size:
            return self._notes
        halved = f"memory ran out: batches of {self.batch_size} instead of {self._batch_size} images"
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
        """Images in one batch now."""
        return self._engine.batch_size

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score preprocessed images.

        Args:
            images: uint8 (n, height, width, channels) of `spec.shape`, any n; read in fixed-size batches.

        Returns:
            Probabilities, float32 (n, classes). Half precision may overflow on an image unlike any of the sample: its
            row is then not finite, which the caller must look at.

        Raises:
            ValueError: the array has another type or shape.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self.spec.shape:
            raise ValueError(f"images are {images.dtype} {images.shape}, the model takes uint8 (n, *{self.spec.shape})")
        if not len(images):
            return np.empty((0, len(self.classes)), np.float32)
        return self._engine(images)


@dataclass(frozen=True, slots=True)
class _Candidate:
    build: Callable[[], Engine]
    exact: bool
    """Held to `LARGEST_DIFFERENCE`; else no predicted class may change."""


def load_runtime(
    folder: Path,
    expected_sha256: str,
    cache: Path,
    choice: Choice = "auto",
    batch_size: int = 32,
) -> Runtime:
    """Verify an artifact, choose a runtime and hold it against the stored sample.

    Args:
        folder: the artifact's.
        expected_sha256: of its model, from the registry.
        cache: folder for converted models, safe to delete.
        choice: auto: a GPU if the Keras backend sees one, else OpenVINO (bf16 where the processor has it, f32 where
            not or where bf16 changes a class), else Keras on the CPU. openvino: one of its two precisions or an error.
            keras: on a GPU, else on the CPU. Others: that one or an error.
        batch_size: images in a batch; halved on a GPU when memory runs out.

    Raises:
        models.serving.artifact.ArtifactError: the artifact is not the registered one or cannot be opened.
        RuntimeUnfit: no allowed runtime answers the sample as Keras did.
    """
    artifact = artifacts.load(folder, expected_sha256)
    notes: list[str] = []
    for candidate in _candidates(artifact, cache, choice, batch_size, notes):
        try:
            engine = candidate.build()
            _hold_against_sample(engine, artifact.sample, exact=candidate.exact)
        except RuntimeUnfit as error:
            notes.append(str(error))
            continue
        return Runtime(engine, artifact.metadata, tuple(notes))
    raise RuntimeUnfit(
        f"no runtime scores {artifact.metadata.model_version} as Keras did when it was saved: {'; '.join(notes)}"
    )


def _candidates(
    artifact: Artifact, cache: Path, choice: Choice, batch_size: int, notes: list[str]
) -> Iterator[_Candidate]:
    """Yield runtimes in the order in which they are tried."""
    if choice in ("auto", "keras"):
        gpus = _gpus(notes)
        if not gpus and not notes and sys.platform.startswith("linux") and devices.gpu_may_be_there():
            notes.append("this machine seems to have a GPU that the Keras backend does not see")
        if gpus:
            policy = gpus[0].policy
            if policy != "float32":
                yield _Candidate(lambda: _keras_on_gpu(artifact, batch_size, policy), exact=False)
            # GPUs round float32 factors in convolutions (TF32), so they are not held to the CPU's exactness.
            yield _Candidate(lambda: _keras_on_gpu(artifact, batch_size), exact=False)
    if choice != "keras":
        if choice == "openvino-bf16" or (choice in ("auto", "openvino") and "bf16" in processor_precisions()):
            yield _Candidate(lambda: _openvino(artifact, cache, "bf16", batch_size), exact=False)
        if choice != "openvino-bf16":
            yield _Candidate(lambda: _openvino(artifact, cache, "f32", batch_size), exact=True)
    if choice in ("auto", "keras"):
        yield _Candidate(lambda: _keras(artifact, batch_size, gpu=False), exact=True)


def gpu_names() -> list[str]:
    """Names of the GPUs that the Keras backend sees."""
    return [gpu.name for gpu in devices.gpus()]


def _openvino(artifact: Artifact, cache: Path, precision: Literal["f32", "bf16"], batch_size: int) -> Engine:
    if precision == "bf16" and "bf16" not in processor_precisions():
        raise RuntimeUnfit("openvino-bf16 does not score: this processor has no bfloat16 arithmetic")
    try:
        return engines.OpenVino(converted(artifact, cache), precision, batch_size)
    except (ImportError, OSError, RuntimeError) as error:  # OpenVINO raises RuntimeError
        raise RuntimeUnfit(f"openvino-{precision} does not score: {_first_line(error)}") from error


def _gpus(notes: list[str]) -> list[devices.Gpu]:
    """Ask for GPUs; a backend or driver that fails at it is noted, since it need not stop a CPU from scoring."""
    try:
        return devices.gpus()
    except Exception as error:  # noqa: BLE001 - whatever backends and drivers raise
        notes.append(f"the Keras backend cannot say whether there is a GPU: {_first_line(error)}")
        return []


def _keras_on_gpu(artifact: Artifact, batch_size: int, policy: str = "float32") -> Engine:
    try:
        return _keras(artifact, batch_size, gpu=True, policy=policy)
    except Exception as error:
        # Also an ArtifactError: a full GPU fails while the model is read. If the file is to blame, the CPU says so.
        raise RuntimeUnfit(f"keras on the GPU ({policy}) does not score: {_first_line(error)}") from error


def _keras(artifact: Artifact, batch_size: int, *, gpu: bool, policy: str = "float32") -> Engine:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    # A model read onto the CPU's device stays there in PyTorch; elsewhere the scope is what places it.
    with keras.device("gpu:0" if gpu else "cpu:0"):
        return engines.Keras(artifact.open_model(), batch_size, gpu=gpu, policy=policy)


def _hold_against_sample(engine: Engine, sample: Sample, *, exact: bool) -> None:
    """Raise `RuntimeUnfit` where the engine does not answer the sample as Keras did."""
    try:
        found = engine(sample.inputs)
    except Exception as error:  # whatever the drivers below raise: the next runtime may do better
        raise RuntimeUnfit(f"{engine.name} does not score: {_first_line(error)}") from error
    _require_probabilities(found, engine.name)
    difference = float(np.abs(found - sample.probabilities).max())
    changed = int((found.argmax(axis=1) != sample.probabilities.argmax(axis=1)).sum())
    if exact and difference > LARGEST_DIFFERENCE:
        raise RuntimeUnfit(
            f"{engine.name} does not score: its probabilities differ from Keras's by up to {difference:.2g} on the "
            f"stored sample, {LARGEST_DIFFERENCE:g} is allowed"
        )
    if not exact and changed:
        raise RuntimeUnfit(
            f"{engine.name} does not score: it changes the predicted class of {changed} of {len(found)} images of the "
            "stored sample"
        )


def _require_probabilities(probabilities: NDArray[np.float32], name: str) -> None:
    if not np.isfinite(probabilities).all():
        raise RuntimeUnfit(f"{name} does not score: it answers with numbers that are not finite")
    if np.abs(probabilities.sum(axis=1) - 1).max() > SUM_TOLERANCE or probabilities.min() < -SUM_TOLERANCE:
        raise RuntimeUnfit(f"{name} does not score: its answers are no probabilities, they do not sum to 1")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
