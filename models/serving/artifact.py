"""A model version on disk: the model, its metadata, and a sample of images with the expected probabilities.

An artifact is a folder of three files. `model.keras` is opened only after its sha256 has been verified against the
registry's, and then without pickles, Lambda layers or code from outside Keras. `sample.npz` holds preprocessed images
and the probabilities that Keras computed from the saved file, on the CPU in float32. Any runtime can be verified
against the sample without importing Keras.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from models.files import sha256_of
from models.radiographs.preprocessing import PreprocessingSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

MODEL_FILE: Final = "model.keras"
METADATA_FILE: Final = "metadata.json"
SAMPLE_FILE: Final = "sample.npz"
ARTIFACT_FILES: Final = (MODEL_FILE, METADATA_FILE, SAMPLE_FILE)
TRUSTED_MODULES: Final = ("keras", "builtins")


class ArtifactError(RuntimeError):
    """The artifact is missing, damaged or not the registered one; the message says what happened and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactMetadata:
    """Metadata of a model version. `save` fills in the last five fields."""

    recipe: str
    classes: tuple[str, ...]
    preprocessing: PreprocessingSpec
    metrics: dict[str, Any]
    training: dict[str, Any]
    data_fingerprint: str
    code_version: str
    made_data: bool
    """Learned from phantoms: such a model never becomes champion for real radiographs."""
    model_version: str = ""
    created_at: str = ""
    """ISO 8601, UTC."""
    model_sha256: str = ""
    sample_sha256: str = ""
    keras_version: str = ""

    def to_json(self) -> str:
        """Return the file's text; it includes the preprocessing's hash, for comparison in SQL and by people."""
        values = asdict(self) | {
            "preprocessing": self.preprocessing.to_dict(),
            "preprocessing_hash": self.preprocessing.hash,
        }
        return json.dumps(values, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of `to_json`; raises ValueError or KeyError for any other text."""
        values = json.loads(text)
        stored_hash = values.pop("preprocessing_hash")
        if set(values) != {field.name for field in fields(cls)}:
            difference = sorted(set(values) ^ {field.name for field in fields(cls)})
            raise ValueError(f"unknown or missing fields: {', '.join(difference)}")
        values["preprocessing"] = PreprocessingSpec.from_dict(values["preprocessing"])
        values["classes"] = tuple(values["classes"])
        if values["preprocessing"].hash != stored_hash:
            raise ValueError("the preprocessing specification does not match its hash")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Sample:
    """Preprocessed images and the probabilities that the model must give for them."""

    inputs: NDArray[np.uint8]
    """(n, height, width, channels)"""
    probabilities: NDArray[np.float32]
    """(n, classes), from Keras in float32 on the CPU."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified artifact; the model itself is opened by `open_model`, which not every runtime needs."""

    folder: Path
    metadata: ArtifactMetadata
    sample: Sample

    @property
    def model_path(self) -> Path:
        """The verified model file."""
        return self.folder / MODEL_FILE

    def open_model(self) -> keras.Model:
        """Open the model with Keras; see the function `open_model`."""
        return open_model(self.model_path, len(self.metadata.classes))


def version_name(recipe: str, created_at: datetime, model_sha256: str) -> str:
    """Return a model version's name, such as ``compact-cnn-20260131T021500Z-1f3a9c02``."""
    return f"{recipe}-{created_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{model_sha256[:8]}"


def save(folder: Path, model: keras.Model, metadata: ArtifactMetadata, inputs: NDArray[np.uint8]) -> ArtifactMetadata:
    """Write an artifact.

    The saved file is opened again, as a scorer does it, and computes the sample's probabilities: the stored reference
    comes from the file, not from the model in memory.

    Args:
        folder: created if absent; an artifact in it is overwritten.
        model: (n, height, width, channels) to (n, classes).
        metadata: without version, time and hashes.
        inputs: (n, height, width, channels), preprocessed images for the sample.

    Returns:
        The metadata with version, time, hashes and Keras version filled in.

    Raises:
        ArtifactError: a scorer could not load the model.
    """
    import keras

    folder.mkdir(parents=True, exist_ok=True)
    (folder / METADATA_FILE).unlink(missing_ok=True)  # written last: a folder without it is not an artifact
    path = folder / MODEL_FILE
    model.save(path)
    with keras.device("cpu"):
        reopened = open_model(path, len(metadata.classes))
        probabilities = keras.ops.convert_to_numpy(reopened(inputs, training=False))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, inputs=inputs, probabilities=np.asarray(probabilities, np.float32))
    (folder / SAMPLE_FILE).write_bytes(buffer.getvalue())
    now = datetime.now(UTC)
    digest = sha256_of(path)
    metadata = replace(
        metadata,
        model_version=version_name(metadata.recipe, now, digest),
        created_at=now.isoformat(timespec="seconds"),
        model_sha256=digest,
        sample_sha256=hashlib.sha256(buffer.getvalue()).hexdigest(),
        keras_version=keras.__version__,
    )
    (folder / METADATA_FILE).write_text(metadata.to_json())
    return metadata


def read_metadata(folder: Path) -> ArtifactMetadata:
    """Read `metadata.json`; raises `ArtifactError` if it is missing or was written by another code version."""
    try:
        return ArtifactMetadata.from_json((folder / METADATA_FILE).read_text())
    except FileNotFoundError:
        raise ArtifactError(f"{folder} has no {METADATA_FILE}: fetch the artifact again, or retrain.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{METADATA_FILE} in {folder} cannot be read ({error}): fetch the artifact again, or use the code version "
            "that wrote it."
        ) from error


def load(folder: Path, expected_sha256: str) -> Artifact:
    """Verify an artifact and read its metadata and sample, without opening the model.

    Args:
        folder: the artifact's.
        expected_sha256: of `model.keras`, from the registry, not from the folder.

    Raises:
        ArtifactError: a file is missing, is not the registered one, or does not match the others.
    """
    for name in ARTIFACT_FILES:
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder} has no {name}: fetch the artifact again, or retrain.")
    actual_sha256 = sha256_of(folder / MODEL_FILE)
    if actual_sha256 != expected_sha256:
        raise ArtifactError(
            f"{MODEL_FILE} in {folder} has sha256 {actual_sha256[:16]}..., but the registry says "
            f"{expected_sha256[:16]}...: it was not opened. Delete the folder and fetch the artifact again. If that "
            "does not help, the stored file has been changed."
        )
    metadata = read_metadata(folder)
    if metadata.model_sha256 != expected_sha256:
        raise ArtifactError(f"{METADATA_FILE} in {folder} belongs to another model: fetch the artifact again.")
    data = (folder / SAMPLE_FILE).read_bytes()
    if hashlib.sha256(data).hexdigest() != metadata.sample_sha256:
        raise ArtifactError(f"{SAMPLE_FILE} in {folder} was changed after it was saved: fetch the artifact again.")
    return Artifact(folder, metadata, _read_sample(data, metadata))


def open_model(path: Path, classes: int) -> keras.Model:
    """Open a `.keras` file safely, without compiling the model.

    Raises:
        ArtifactError: the file is not a zip-based `.keras` file, contains a Lambda layer or code from outside Keras,
            cannot be read by this Keras version, or does not output (n, classes) probabilities.
    """
    _require_harmless(path)
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras passes on whatever its deserialisers raise
        raise ArtifactError(
            f"{path.name} cannot be opened by Keras {keras.__version__} ({type(error).__name__}: {error}): use the "
            "Keras version named in the metadata, or retrain."
        ) from error
    if len(model.outputs) != 1 or tuple(model.output_shape) != (None, classes):
        raise ArtifactError(
            f"{path.name} has output shape {model.output_shape}, not (None, {classes}): the model and the class list "
            "do not belong together. Retrain."
        )
    return model


def _require_harmless(path: Path) -> None:
    """Refuse a file that could run code, before Keras opens it."""
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ArtifactError(
            f"{path.name} is not a .keras file of Keras 3 (a zip archive). Other formats can contain code and are not "
            "opened. Save the model with Keras 3."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path.name} has no readable config.json: it is not a Keras model. Retrain.") from error
    for node in _serialised_objects(config):
        if node["class_name"] in ("Lambda", "__lambda__"):
            raise ArtifactError(
                f"{path.name} has a Lambda layer, which contains code: it was not opened. Use layers of Keras only."
            )
        module = node.get("module")
        if module is not None and str(module).partition(".")[0] not in TRUSTED_MODULES:
            raise ArtifactError(
                f"{path.name} asks for {module}.{node['class_name']}, which is not part of Keras: it was not opened. "
                "Use layers of Keras only."
            )


def _serialised_objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all serialised objects in a Keras configuration, at any depth."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for inner in value.values():
            yield from _serialised_objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _serialised_objects(inner)


def _read_sample(data: bytes, metadata: ArtifactMetadata) -> Sample:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            sample = Sample(arrays["inputs"], arrays["probabilities"])
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{SAMPLE_FILE} cannot be read ({error}): fetch the artifact again.") from error
    inputs, probabilities = sample.inputs, sample.probabilities
    fits = inputs.dtype == np.uint8 and inputs.shape[1:] == metadata.preprocessing.shape and len(inputs)
    if not fits or probabilities.shape != (len(inputs), len(metadata.classes)):
        raise ArtifactError(
            f"{SAMPLE_FILE} holds images {inputs.dtype} {inputs.shape} and probabilities {probabilities.shape}, which "
            "does not match the metadata: fetch the artifact again, or retrain."
        )
    return sample
