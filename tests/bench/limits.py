"""The two limits of a night, each measured alone on the night's cores: decoding, and the champion's forward pass.

Run as `python -m tests.bench.limits FOLDER ARTIFACT SHA256`, in a process of its own: OpenVINO's threads stay on the
cores on which they began.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.serving.runtime import Runtime

PREDICTED_AT_ONCE = 256  # images, as many as a shard has


def decoded_per_s(files: Sequence[bytes]) -> float:
    """Return images/s of OpenCV's decoder over files in memory, one thread for each core."""

    def decode(data: bytes) -> None:
        if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) is None:
            raise ValueError("a file of the benchmark cannot be decoded")

    cv2.setNumThreads(1)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        began = time.perf_counter()
        for _ in pool.map(decode, files):
            pass
        return len(files) / (time.perf_counter() - began)


def scored_per_s(runtime: Runtime, images: int) -> float:
    """Return images/s of the runtime on arrays in memory, at its batch size, on all cores."""
    shape = (PREDICTED_AT_ONCE, *runtime.spec.shape)
    inputs = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    runtime.predict(inputs)
    rounds = -(-images // PREDICTED_AT_ONCE)
    began = time.perf_counter()
    for _ in range(rounds):
        runtime.predict(inputs)
    return rounds * PREDICTED_AT_ONCE / (time.perf_counter() - began)


def combined(decode: float, forward: float) -> float:
    """Return the images/s of doing both on the same cores, one after the other, with nothing else to do."""
    return 1 / (1 / decode + 1 / forward)


def main(folder: str, artifact: str, sha256: str) -> None:
    """Print images/s of either limit for the files of a folder and a model version."""
    from infra.settings import Settings
    from models.serving.runtime import load_runtime

    settings = Settings.load()
    runtime = load_runtime(Path(artifact), sha256, settings.cache, settings.runtime, settings.batch_size)
    files = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    measured = {"decode": decoded_per_s(files), "forward": scored_per_s(runtime, len(files))}
    print(json.dumps(measured))  # noqa: T201 - how the parent process learns of it


if __name__ == "__main__":
    main(*sys.argv[1:])
