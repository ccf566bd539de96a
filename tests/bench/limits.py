"""The two limits of a night, each measured alone on all cores: decoding, and the champion's forward pass."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.runtime import Runtime

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
