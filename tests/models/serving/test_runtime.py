"""Runtimes, their engines and the conversion to OpenVINO."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models import files
from models.serving import artifact, devices, engines
from models.serving.conversion import ensure_converted
from models.serving.runtime import UnfitRuntimeError, _keras, _keras_on_gpu, load_runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("warm_workers")
ROOT = Path(__file__).resolve().parents[3]
NO_GPU = pytest.mark.skipif(devices.may_have_gpu(), reason="this machine may have a GPU, which auto prefers")


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (37, 48, 48, 1), dtype=np.uint8)


def load(saved: Any, cache: Path, choice: Any = "openvino-f32", **more: Any) -> Any:
    return load_runtime(saved.folder, saved.metadata.model_sha256, cache, choice, **more)


def other_reference(saved: Any, folder: Path, change: Any) -> Any:
    """Return the artifact with other stored probabilities."""
    shutil.copytree(saved.folder, folder)
    loaded = artifact.load(folder, saved.metadata.model_sha256)
    buffer = BytesIO()
    probabilities = change(loaded.sample.probabilities.copy())
    np.savez(buffer, inputs=loaded.sample.inputs, probabilities=probabilities.astype(np.float32))
    (folder / "sample.npz").write_bytes(buffer.getvalue())
    metadata = replace(saved.metadata, sample_sha256=hashlib.sha256(buffer.getvalue()).hexdigest())
    (folder / "metadata.json").write_text(metadata.to_json())
    return replace(saved, folder=folder, metadata=metadata)


@pytest.fixture
def wrong_cache(saved: Any, cache: Path, tmp_path: Path) -> Path:
    """A cache whose converted model is intact, but outputs the classes in another order."""
    import openvino
    from openvino import opset13 as ops

    graph = ensure_converted(artifact.load(saved.folder, saved.metadata.model_sha256), cache)
    folder = tmp_path / "cache" / graph.relative_to(cache).parent
    folder.mkdir(parents=True)
    model = openvino.Core().read_model(graph)
    turned = ops.gather(model.output(0).get_node().input_value(0), np.array([1, 2, 0]), np.array(1))
    openvino.save_model(openvino.Model([turned], model.get_parameters()), folder / "model.xml", compress_to_fp16=False)
    sums = {name: files.sha256_of(folder / name) for name in ("model.xml", "model.bin")}
    (folder / "checksums.json").write_text(json.dumps(sums))
    return tmp_path / "cache"


def test_openvino_gives_the_probabilities_of_keras(
    saved: Any, cache: Path, trained: Any, images: NDArray[np.uint8]
) -> None:
    runtime = load(saved, cache)
    assert runtime.name == "openvino-f32"
    assert runtime.notes == ()
    assert runtime.classes == trained.classes
    assert runtime.spec == trained.recipe.preprocessing
    expected = np.asarray(trained.model.predict_on_batch(images))
    found = runtime.predict(images)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("choice", ["openvino-f32", "keras"])
def test_an_images_probabilities_do_not_depend_on_its_batch(
    saved: Any, cache: Path, images: NDArray[np.uint8], choice: str
) -> None:
    runtime = load(saved, cache, choice, batch_size=8)
    whole = runtime.predict(images)
    assert whole.shape == (37, 3)
    for n in (1, 7, 8, 9, 16):
        assert np.allclose(runtime.predict(images[:n]), whole[:n], atol=1e-5)
    assert np.allclose(runtime.predict(images[::-1]), whole[::-1], atol=1e-5)
    assert runtime.predict(images[:0]).shape == (0, 3)


def test_a_gpu_on_which_the_model_cannot_be_built_is_skipped(saved: Any, tmp_path: Path) -> None:
    loaded = artifact.load(saved.folder, saved.metadata.model_sha256)
    with pytest.raises(UnfitRuntimeError, match=r"keras on the GPU \(no_such_policy\) does not score: .+"):
        _keras_on_gpu(loaded, 8, "no_such_policy")
    (tmp_path / "model.keras").write_bytes(b"nothing")
    unreadable = replace(loaded, folder=tmp_path)
    with pytest.raises(UnfitRuntimeError, match=r"not a \.keras file"):
        _keras_on_gpu(unreadable, 8)
    with pytest.raises(artifact.ArtifactError, match=r"not a \.keras file"):
        _keras(unreadable, 8, gpu=False)


def test_a_backend_that_fails_when_asked_for_gpus_leaves_scoring_to_openvino(saved: Any, cache: Path) -> None:
    load(saved, cache)
    program = (
        "import sys\nfrom pathlib import Path\nfrom models.serving import devices\n"
        "from models.serving.runtime import load_runtime\n"
        "devices.GPU_NODES = ('/',)\n"  # as if the driver were there, so that the backend is asked
        "runtime = load_runtime(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))\n"
        "print(runtime.name, *runtime.notes, sep='\\n')"
    )
    command = [sys.executable, "-c", program, str(saved.folder), saved.metadata.model_sha256, str(cache)]
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment["KERAS_BACKEND"] = "missing"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    name, note, *_ = done.stdout.splitlines()
    assert name.startswith("openvino-")
    assert note.startswith("the Keras backend cannot say whether there is a GPU: ")


@NO_GPU
def test_without_a_gpu_auto_means_openvino(saved: Any, cache: Path) -> None:
    assert load(saved, cache, "auto").name.startswith("openvino-")


def test_openvino_starts_from_its_cache_silently_without_keras_or_tensorflow(saved: Any, cache: Path) -> None:
    load(saved, cache)
    program = (
        "import sys\nfrom pathlib import Path\nfrom models.serving.runtime import load_runtime\n"
        "load_runtime(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), 'openvino-f32')\n"
        "print([name for name in ('keras', 'tensorflow', 'jax', 'torch') if name in sys.modules])\n"
        "print(sys.modules.get('openvino_telemetry'))"
    )
    command = [sys.executable, "-c", program, str(saved.folder), saved.metadata.model_sha256, str(cache)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "None"]
    assert done.stderr == ""


def test_a_forced_keras_scores_on_keras(saved: Any, tmp_path: Path) -> None:
    runtime = load(saved, tmp_path, "keras")
    assert runtime.name.startswith("keras-tensorflow-")
    assert not list(tmp_path.iterdir())


@NO_GPU
def test_keras_scores_and_says_why_where_openvino_gives_other_probabilities(saved: Any, wrong_cache: Path) -> None:
    runtime = load(saved, wrong_cache, "auto")
    assert runtime.name == "keras-tensorflow-cpu"
    assert "openvino-f32 does not score: its probabilities differ" in runtime.notes[-1]


def test_a_forced_openvino_that_gives_other_probabilities_is_an_error(saved: Any, wrong_cache: Path) -> None:
    with pytest.raises(UnfitRuntimeError, match="its probabilities differ from Keras's by up to"):
        load(saved, wrong_cache, "openvino-f32")


def test_a_difference_of_a_thousandth_is_allowed_and_more_is_not(saved: Any, cache: Path, tmp_path: Path) -> None:
    def shifted(by: float) -> Any:
        def change(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
            probabilities[0, 0] += by
            return probabilities

        return change

    load(other_reference(saved, tmp_path / "little", shifted(0.0008)), cache)
    with pytest.raises(UnfitRuntimeError, match=r"only 0\.001 is allowed"):
        load(other_reference(saved, tmp_path / "much", shifted(0.0015)), cache)


def test_a_model_that_no_runtime_reproduces_is_refused(saved: Any, cache: Path, tmp_path: Path) -> None:
    changed = other_reference(saved, tmp_path / "a", lambda probabilities: probabilities[:, ::-1])
    with pytest.raises(UnfitRuntimeError, match=r"openvino.*keras-tensorflow"):
        load(changed, cache, "auto")


def test_bfloat16_scores_only_where_the_processor_has_it_and_no_class_changes(saved: Any, cache: Path) -> None:
    import openvino

    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert load(saved, cache, "openvino-bf16").name == "openvino-bf16"
    else:
        with pytest.raises(UnfitRuntimeError, match="no bfloat16 arithmetic"):
            load(saved, cache, "openvino-bf16")
        assert load(saved, cache, "openvino").name == "openvino-f32"


def test_images_that_were_not_preprocessed_for_the_model_are_refused(saved: Any, cache: Path) -> None:
    runtime = load(saved, cache)
    with pytest.raises(ValueError, match="uint8"):
        runtime.predict(np.zeros((1, 48, 48, 1), np.float32))
    with pytest.raises(ValueError, match="48"):
        runtime.predict(np.zeros((1, 64, 64, 1), np.uint8))


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "no checksums"])
def test_a_damaged_converted_model_is_converted_again(saved: Any, cache: Path, tmp_path: Path, damage: str) -> None:
    loaded = artifact.load(saved.folder, saved.metadata.model_sha256)
    folder = ensure_converted(loaded, cache).parent
    copy = tmp_path / folder.relative_to(cache)
    shutil.copytree(folder, copy)
    weights = copy / "model.bin"
    match damage:
        case "cut":
            weights.write_bytes(weights.read_bytes()[:1000])
        case "changed":
            content = bytearray(weights.read_bytes())
            content[len(content) // 2] ^= 0xFF
            weights.write_bytes(content)
        case "missing":
            weights.unlink()
        case "no checksums":
            (copy / "checksums.json").unlink()
    if damage == "changed":  # one conversion is enough to show that it works; the others need only be noticed
        assert load(saved, tmp_path).notes == ()
        assert files.sha256_of(weights) == files.sha256_of(folder / "model.bin")
        return
    from models.serving.conversion import _is_intact

    assert not _is_intact(copy)


def test_a_killed_conversion_leaves_nothing_half_done(saved: Any, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom models.serving.artifact import load\n"
        "from models.serving.conversion import ensure_converted\n"
        "ensure_converted(load(Path(sys.argv[1]), sys.argv[2]), Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", program, str(saved.folder), saved.metadata.model_sha256, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    by_model = tmp_path / saved.metadata.model_sha256
    deadline = time.monotonic() + 60
    while not list(by_model.glob(f"{files.UNFINISHED_PREFIX}*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = list(by_model.glob(f"{files.UNFINISHED_PREFIX}*"))
    assert len(left) == 1
    assert not list(by_model.glob("openvino-*"))
    long_ago = time.time() - 7200
    os.utime(left[0], (long_ago, long_ago))
    assert load(saved, tmp_path).name == "openvino-f32"
    assert not list(by_model.glob(f"{files.UNFINISHED_PREFIX}*"))


def test_a_model_that_cannot_be_converted_is_named_in_the_reason(saved: Any, tmp_path: Path) -> None:
    loaded = artifact.load(saved.folder, saved.metadata.model_sha256)
    shutil.copytree(saved.folder, tmp_path / "broken")
    (tmp_path / "broken" / "model.keras").write_bytes(b"nothing")
    from models.serving.conversion import ConversionError

    with pytest.raises(ConversionError, match=r"not a \.keras file"):
        ensure_converted(replace(loaded, folder=tmp_path / "broken"), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob(f"{files.UNFINISHED_PREFIX}*"))


def test_batches_are_halved_when_memory_runs_out_and_stay_halved() -> None:
    import tensorflow as tf

    sizes: list[int] = []

    def forward(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        sizes.append(len(images))
        if len(images) > 8:
            tf.zeros((len(images), 2**40), tf.float64)  # TensorFlow's own allocator runs out
        return images.reshape(len(images), -1)[:, :2].astype(np.float32)

    halving = engines.BatchHalving(forward, 32)
    images = np.arange(37, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    assert halving(images)[:, 0].tolist() == list(range(37))
    assert halving.batch_size == 8
    assert sizes == [32, 16, 8, 8, 8, 8, 8]
    assert halving(images[:3])[:, 0].tolist() == [0, 1, 2]
    assert sizes[-1] == 8


def test_lack_of_memory_for_a_single_image_is_an_error() -> None:
    import tensorflow as tf

    def forward(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(tf.zeros((len(images), 2**40), tf.float64))

    with pytest.raises(tf.errors.ResourceExhaustedError):
        engines.BatchHalving(forward, 4)(np.zeros((4, 2, 2, 1), np.uint8))


def test_an_error_other_than_lack_of_memory_halves_nothing() -> None:
    def forward(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise ValueError(f"{len(images)} images")

    halving = engines.BatchHalving(forward, 32)
    with pytest.raises(ValueError, match="32 images"):
        halving(np.zeros((40, 2, 2, 1), np.uint8))
    assert halving.batch_size == 32


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_changes_no_class_and_keeps_probabilities_in_float32(saved: Any, policy: str) -> None:
    loaded = artifact.load(saved.folder, saved.metadata.model_sha256)
    engine = engines.KerasEngine(loaded.open_model(), 16, gpu=False, policy=policy)
    assert engine.name == f"keras-tensorflow-cpu-{policy}"
    half = [layer.name for layer in engine.model.layers if layer.compute_dtype == policy.removeprefix("mixed_")]
    assert {"conv0", "conv3", "logits"} <= set(half)
    assert engine.model.get_layer("probabilities").compute_dtype == "float32"
    assert {variable.dtype for variable in engine.model.variables} == {"float32"}
    found = engine(loaded.sample.inputs)
    assert (found.argmax(axis=1) == loaded.sample.probabilities.argmax(axis=1)).all()
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert 0 < np.abs(found - loaded.sample.probabilities).max() < 0.1
