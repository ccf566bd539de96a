"""Convert a `.keras` model to OpenVINO, once for each model and OpenVINO version, into a cache that is safe to delete.

Keras converts the model (`Model.export`) in a separate process, ``python -m models.serving.conversion``, to keep
TensorFlow's memory, threads and messages out of the scoring process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from models.files import UNFINISHED_PREFIX, atomic_folder, sha256_of
from models.serving import quiet_imports
from models.serving.artifact import open_model
from models.serving.quiet_imports import silence_telemetry

if TYPE_CHECKING:
    from models.serving.artifact import Artifact

GRAPH_FILE: Final = "model.xml"
WEIGHTS_FILE: Final = "model.bin"
CHECKSUMS_FILE: Final = "checksums.json"
TIMEOUT_S: Final = 900
ABANDONED_S: Final = 3600
"""Age after which a conversion's working folder counts as left behind by a killed process."""


class ConversionError(RuntimeError):
    """The model cannot be converted; the message includes the last line of the converter's output."""


def ensure_converted(artifact: Artifact, cache: Path) -> Path:
    """Return the path of the converted `model.xml`, after converting the model if the cache has no intact copy.

    One rename creates the model's folder, so a killed conversion leaves nothing that looks like a model. Two processes
    may convert at the same time; one of the two equal results is kept.

    Args:
        artifact: verified.
        cache: folder of all converted models.

    Raises:
        ConversionError: Keras or OpenVINO cannot convert the model, or takes more than 15 minutes.
    """
    folder = cache / artifact.metadata.model_sha256 / f"openvino-{version('openvino')}"
    if _is_intact(folder):
        return folder / GRAPH_FILE
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(folder.parent)
    try:
        with atomic_folder(folder, several_writers=True) as unfinished:
            _convert(artifact.model_path, unfinished / GRAPH_FILE, len(artifact.metadata.classes))
            checksums = {name: sha256_of(unfinished / name) for name in (GRAPH_FILE, WEIGHTS_FILE)}
            (unfinished / CHECKSUMS_FILE).write_text(json.dumps(checksums))
            unfinished.chmod(0o755)
            if folder.exists() and not _is_intact(folder):
                shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        if not _is_intact(folder):  # otherwise another process was faster
            raise
    return folder / GRAPH_FILE


def _is_intact(folder: Path) -> bool:
    try:
        checksums = json.loads((folder / CHECKSUMS_FILE).read_text())
        return all(sha256_of(folder / name) == checksums[name] for name in (GRAPH_FILE, WEIGHTS_FILE))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _clear_abandoned(folder: Path) -> None:
    """Remove working folders that killed conversions left behind."""
    for work in folder.glob(f"{UNFINISHED_PREFIX}*"):
        try:
            abandoned = time.time() - work.stat().st_mtime > ABANDONED_S
        except FileNotFoundError:
            continue
        if abandoned:
            shutil.rmtree(work, ignore_errors=True)


def _convert(model: Path, graph: Path, classes: int) -> None:
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
    }
    command = [sys.executable, "-m", "models.serving.conversion", str(model), str(graph), str(classes)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ConversionError(f"the conversion to OpenVINO took more than {TIMEOUT_S} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ConversionError(
            f"the conversion to OpenVINO ended with status {done.returncode}: {lines[-1] if lines else 'no message'}"
        )


def main(model: str, graph: str, classes: str) -> None:
    """Convert a model in this process; the arguments are those of `_convert`, as text."""
    silence_telemetry()
    quiet_imports.import_keras()
    open_model(Path(model), int(classes)).export(graph, format="openvino", verbose=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
