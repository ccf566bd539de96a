"""Artifacts: only a registered, complete and harmless model is opened."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from models.serving import artifact
from models.serving.artifact import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def copy(saved: Any, tmp_path: Path) -> Path:
    return shutil.copytree(saved.folder, tmp_path / "copy")


def test_a_loaded_artifact_equals_the_saved_one(saved: Any, trained: Any) -> None:
    loaded = artifact.load(saved.folder, saved.metadata.model_sha256)
    assert loaded.metadata == saved.metadata == artifact.read_metadata(saved.folder)
    assert np.array_equal(loaded.sample.inputs, trained.sample)
    answers = keras.ops.convert_to_numpy(loaded.open_model()(trained.sample, training=False))
    assert np.allclose(answers, loaded.sample.probabilities, atol=1e-5)


def test_the_metadata_records_the_recipe_and_the_data(saved: Any) -> None:
    text = json.loads((saved.folder / "metadata.json").read_text())
    assert text["classes"] == ["COVID-19", "NORMAL", "PNEUMONIA"]
    assert text["preprocessing_hash"] == saved.metadata.preprocessing.hash
    assert text["training"]["seed"] == 1
    assert text["made_data"] is True
    assert text["metrics"]["n"] > 0
    assert text["keras_version"] == keras.__version__
    assert text["model_sha256"] == hashlib.sha256((saved.folder / "model.keras").read_bytes()).hexdigest()


def test_a_model_versions_name_holds_recipe_time_and_content() -> None:
    name = artifact.version_name("compact-cnn", datetime(2026, 1, 31, 2, 15, tzinfo=UTC), "1f3a9c02" + "0" * 56)
    assert name == "compact-cnn-20260131T021500Z-1f3a9c02"


def test_a_model_that_is_not_the_registered_one_is_not_opened(copy: Path, saved: Any) -> None:
    with (copy / "model.keras").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match="it was not opened"):
        artifact.load(copy, saved.metadata.model_sha256)


def test_a_folder_cannot_vouch_for_itself(saved: Any) -> None:
    with pytest.raises(ArtifactError, match="the registry says"):
        artifact.load(saved.folder, "0" * 64)


@pytest.mark.parametrize("name", artifact.ARTIFACT_FILES)
def test_a_missing_file_is_named(copy: Path, saved: Any, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        artifact.load(copy, saved.metadata.model_sha256)


def test_a_changed_sample_is_refused(copy: Path, saved: Any) -> None:
    np.savez(copy / "sample.npz", inputs=np.zeros((1, 48, 48, 1), np.uint8), probabilities=np.ones((1, 3)))
    with pytest.raises(ArtifactError, match=r"sample\.npz"):
        artifact.load(copy, saved.metadata.model_sha256)


def test_a_pickle_in_the_sample_is_refused(copy: Path, saved: Any) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, inputs=np.array([{"a": 1}], dtype=object), probabilities=np.ones((1, 3), np.float32))
    (copy / "sample.npz").write_bytes(buffer.getvalue())
    changed = replace(saved.metadata, sample_sha256=hashlib.sha256(buffer.getvalue()).hexdigest())
    (copy / "metadata.json").write_text(changed.to_json())
    with pytest.raises(ArtifactError, match="cannot be read"):
        artifact.load(copy, saved.metadata.model_sha256)


def test_a_changed_preprocessing_is_refused(copy: Path) -> None:
    values = json.loads((copy / "metadata.json").read_text())
    values["preprocessing"]["equalisation"] = "clahe"
    (copy / "metadata.json").write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match="does not match its hash"):
        artifact.read_metadata(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"preprocessing_hash": 1}', "null"])
def test_metadata_with_other_fields_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(ArtifactError, match="cannot be read"):
        artifact.read_metadata(tmp_path)


@pytest.mark.parametrize("content", [pickle.dumps({"a": 1}), b"\x89HDF\r\n\x1a\n" + bytes(64), b""])
def test_a_pickle_or_an_hdf5_file_is_not_opened_whatever_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"not a \.keras file"):
        artifact.open_model(tmp_path / "model.keras", 3)


def test_a_zip_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ArtifactError, match="not a Keras model"):
        artifact.open_model(tmp_path / "model.keras", 3)


def test_a_lambda_layer_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    outputs = keras.layers.Softmax()(keras.layers.Lambda(lambda x: x * 2)(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    with pytest.raises(ArtifactError, match="Lambda"):
        artifact.open_model(tmp_path / "model.keras", 4)


def test_a_lambda_layer_inside_another_model_is_refused_when_saving(trained: Any, tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x)])
    model = keras.Model(trained.model.inputs, inner(trained.model.outputs[0]))
    metadata = trained.metadata(data_fingerprint="", code_version="", made_data=True)
    with pytest.raises(ArtifactError, match="Lambda"):
        artifact.save(tmp_path, model, metadata, trained.sample)
    assert not (tmp_path / "metadata.json").exists()


def test_code_from_outside_keras_is_refused(copy: Path) -> None:
    path = copy / "model.keras"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    config["config"]["layers"][1] |= {"module": "os", "class_name": "system"}
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(ArtifactError, match=r"os\.system, which is not part of Keras"):
        artifact.open_model(path, 3)


def test_a_model_with_another_number_of_classes_is_refused(saved: Any) -> None:
    with pytest.raises(ArtifactError, match=r"not \(None, 2\)"):
        artifact.open_model(saved.folder / "model.keras", 2)
