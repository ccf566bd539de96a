"""A model version on disk: the model, what is known of it, and a sample that says how it must answer.

An artifact is a folder of three files. `model.keras` is opened only after its sha256 has been found equal to the one
that the registry holds, and then without pickles, without Lambda layers and without code from outside Keras.
`sample.npz` holds preprocessed images with the probabilities that Keras computed from the saved file on the CPU in
float32: any runtime can be held against it without Keras being there.
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
FILES: Final = (MODEL_FILE, METADATA_FILE, SAMPLE_FILE)
TRUSTED_MODULES: Final = ("keras", "builtins")
OUTPUT_RANK: Final = 2


class ArtifactError(RuntimeError):
    """The artifact is not what it should be; the message says what happened and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactMetadata:
    """What is known of a model version. The last five fields are filled in by `save`."""

    recipe: str
    classes: tuple[str, ...]
    preprocessing: PreprocessingSpec
    metrics: dict[str, Any]
    training: dict[str, Any]
    data_fingerprint: str
    code_version: str
    made_data: bool
    """Learned from phantoms: never to be champion over real radiographs."""
    model_version: str = ""
    created_at: str = ""
    """ISO 8601, UTC."""
    model_sha256: str = ""
    sample_sha256: str = ""
    keras_version: str = ""

    def to_json(self) -> str:
        """The file's text; the preprocessing's hash is written too, so that SQL and people can compare it."""
        values = asdict(self) | {
            "preprocessing": self.preprocessing.to_dict(),
            "preprocessing_hash": self.preprocessing.hash,
        }
        return json.dumps(values, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back `to_json`'s text; ValueError or KeyError where it is anything else."""
        values = json.loads(text)
        stored_hash = values.pop("preprocessing_hash")
        if set(values) != {field.name for field in fields(cls)}:
            raise ValueError(f"its fields differ in {sorted(set(values) ^ {field.name for field in fields(cls)})}")
        values["preprocessing"] = PreprocessingSpec.from_dict(values["preprocessing"])
        values["classes"] = tuple(values["classes"])
        if values["preprocessing"].hash != stored_hash:
            raise ValueError("the preprocessing specification does not match its hash")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Sample:
    """Preprocessed images and how the model must answer them."""

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
        """Where the verified model file lies."""
        return self.folder / MODEL_FILE

    def open_model(self) -> keras.Model:
        """Open the model with Keras; see the function `open_model`."""
        return open_model(self.model_path, len(self.metadata.classes))


def version_name(recipe: str, created_at: datetime, model_sha256: str) -> str:
    """Return a model version's name, such as ``compact-cnn-20260131T021500Z-1f3a9c02``."""
    return f"{recipe}-{created_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{model_sha256[:8]}"


def save(folder: Path, model: keras.Model, metadata: ArtifactMetadata, inputs: NDArray[np.uint8]) -> ArtifactMetadata:
    """Write an artifact.

    The saved file is opened again, as a scorer would, and answers the sample: what is stored as reference is what the
    file says, not what the model in memory said.

    Args:
        folder: created if absent; its artifact, if any, is overwritten.
        model: (n, height, width, channels) to (n, classes).
        metadata: without version, time and hashes.
        inputs: (n, height, width, channels), preprocessed images for the sample.

    Returns:
        The metadata with version, time, hashes and Keras version filled in.

    Raises:
        ArtifactError: the model would not be loadable by a scorer.
    """
    import keras

    folder.mkdir(parents=True, exist_ok=True)
    (folder / METADATA_FILE).unlink(missing_ok=True)  # it is written last: a folder without it is no artifact
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
    """Read `metadata.json`; raises `ArtifactError` where it is missing or not of this code's form."""
    try:
        return ArtifactMetadata.from_json((folder / METADATA_FILE).read_text())
    except FileNotFoundError:
        raise ArtifactError(f"{folder} holds no {METADATA_FILE}: fetch the artifact again, or train anew.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{METADATA_FILE} in {folder} cannot be read ({error}): fetch the artifact again, or use the code version "
            "that wrote it."
        ) from error


def load(folder: Path, expected_sha256: str) -> Artifact:
    """Verify an artifact and read its metadata and sample. The model is not opened yet.

    Args:
        folder: with the three files.
        expected_sha256: of `model.keras`, from the registry, not from the folder.

    Raises:
        ArtifactError: a file is missing, is not the registered one, or does not fit the others.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder} holds no {name}: fetch the artifact again, or train anew.")
    found = sha256_of(folder / MODEL_FILE)
    if found != expected_sha256:
        raise ArtifactError(
            f"{MODEL_FILE} in {folder} has sha256 {found[:16]}..., the registry says {expected_sha256[:16]}...: it was "
            "not opened. Delete the folder and fetch the artifact again; if that does not help, the stored file was "
            "changed."
        )
    metadata = read_metadata(folder)
    if metadata.model_sha256 != expected_sha256:
        raise ArtifactError(f"{METADATA_FILE} in {folder} belongs to another model: fetch the artifact again.")
    data = (folder / SAMPLE_FILE).read_bytes()
    if hashlib.sha256(data).hexdigest() != metadata.sample_sha256:
        raise ArtifactError(f"{SAMPLE_FILE} in {folder} is not the one that was saved: fetch the artifact again.")
    return Artifact(folder, metadata, _read_sample(data, metadata))


def open_model(path: Path, classes: int) -> keras.Model:
    """Open a `.keras` file safely, not compiled.

    Raises:
        ArtifactError: it is no zip-based `.keras` file, holds a Lambda layer or code from outside Keras, cannot be read
            by this Keras, or does not answer with (n, classes) probabilities.
    """
    _require_harmless(path)
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its deserialisers raise
        raise ArtifactError(
            f"{path.name} cannot be opened by Keras {keras.__version__} ({type(error).__name__}: {error}): use the "
            "Keras version named in the metadata, or train anew."
        ) from error
    if len(model.outputs) != 1 or tuple(model.output_shape) != (None, classes):
        raise ArtifactError(
            f"{path.name} answers with shape {model.output_shape}, not (None, {classes}): model and class list do not "
            "belong together. Train anew."
        )
    return model


def _require_harmless(path: Path) -> None:
    """Refuse what could run code, before Keras sees the file."""
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ArtifactError(
            f"{path.name} is not a .keras file of Keras 3 (a zip archive); other formats can carry code and are not "
            "opened. Save the model with Keras 3."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{path.name} holds no readable config.json: it is not a Keras model. Train anew."
        ) from error
    for node in _objects(config):
        if node["class_name"] in ("Lambda", "__lambda__"):
            raise ArtifactError(
                f"{path.name} holds a Lambda layer, which is code of its own: it was not opened. Use layers of Keras."
            )
        module = node.get("module")
        if module is not None and str(module).partition(".")[0] not in TRUSTED_MODULES:
            raise ArtifactError(
                f"{path.name} asks for {module}.{node['class_name']}, which is not part of Keras: it was not opened. "
                "Use layers of Keras."
            )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """All serialised objects in a Keras configuration, at any depth."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


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
            f"{SAMPLE_FILE} holds {inputs.dtype} {inputs.shape} and {probabilities.shape}, which does not fit the "
            "metadata: fetch the artifact again, or train anew."
        )
    return sample
