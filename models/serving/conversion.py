"""Convert a `.keras` model to OpenVINO, once for each model and OpenVINO version, into a cache that may be deleted.

Keras does the conversion (`Model.export`) in a process of its own, ``python -m models.serving.conversion``: the
memory, threads and messages of TensorFlow stay out of the process that scores.
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

from models.files import UNFINISHED, atomic_folder, sha256_of
from models.serving import quiet_imports
from models.serving.artifact import open_model
from models.serving.quiet_imports import silence_telemetry

if TYPE_CHECKING:
    from models.serving.artifact import Artifact

GRAPH: Final = "model.xml"
WEIGHTS: Final = "model.bin"
CHECKSUMS: Final = "checksums.json"
TIMEOUT_S: Final = 900
ABANDONED_S: Final = 3600


class ConversionError(RuntimeError):
    """The model cannot be converted; the message holds the converter's last words."""


def converted(artifact: Artifact, cache: Path) -> Path:
    """Return the converted model's `model.xml`, converting where the cache lacks it or holds a damaged one.

    The cache's folder comes into being by one rename: a conversion killed at any instant leaves nothing that could be
    taken for a model. Two processes may convert at once; one of the two equal results stays.

    Args:
        artifact: verified.
        cache: folder of all models' conversions.

    Raises:
        ConversionError: Keras or OpenVINO cannot convert the model, or took more than 15 minutes.
    """
    folder = cache / artifact.metadata.model_sha256 / f"openvino-{version('openvino')}"
    if _intact(folder):
        return folder / GRAPH
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(folder.parent)
    try:
        with atomic_folder(folder, several_writers=True) as unfinished:
            _convert(artifact.model_path, unfinished / GRAPH, len(artifact.metadata.classes))
            checksums = {name: sha256_of(unfinished / name) for name in (GRAPH, WEIGHTS)}
            (unfinished / CHECKSUMS).write_text(json.dumps(checksums))
            unfinished.chmod(0o755)
            if folder.exists() and not _intact(folder):
                shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        if not _intact(folder):  # otherwise another process was quicker
            raise
    return folder / GRAPH


def _intact(folder: Path) -> bool:
    try:
        checksums = json.loads((folder / CHECKSUMS).read_text())
        return all(sha256_of(folder / name) == checksums[name] for name in (GRAPH, WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _clear_abandoned(folder: Path) -> None:
    """Remove what killed conversions left."""
    for left in folder.glob(f"{UNFINISHED}*"):
        try:
            abandoned = time.time() - left.stat().st_mtime > ABANDONED_S
        except FileNotFoundError:
            continue
        if abandoned:
            shutil.rmtree(left, ignore_errors=True)


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
        words = [line for line in done.stderr.splitlines() if line.strip()]
        raise ConversionError(
            f"the conversion to OpenVINO ended with status {done.returncode}: {words[-1] if words else 'no message'}"
        )


def main(model: str, graph: str, classes: str) -> None:
    """Convert in this process; the arguments are `_convert`'s."""
    silence_telemetry()
    quiet_imports.import_keras()
    open_model(Path(model), int(classes)).export(graph, format="openvino", verbose=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
