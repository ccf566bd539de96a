"""Devices to compute on: GPUs that the Keras backend sees, and the precisions of the CPU.

Each backend is imported only if it is the configured one.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.serving.quiet_imports import silence_telemetry

GPU_NODES: Final = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvmap", "/dev/kfd", "/dev/dxg")
"""NVIDIA, Jetson, AMD, WSL: a Linux machine without any of these files has no GPU to compute on."""
BFLOAT16_CAPABILITY: Final = 8
FLOAT16_CAPABILITY: Final = 7
"""Lowest major CUDA compute capabilities whose tensor cores support these types."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that the Keras backend can use."""

    name: str
    capability: int
    """Major CUDA compute capability, 0 if unknown."""

    @property
    def dtype_policy(self) -> str:
        """The Keras dtype policy that suits the GPU."""
        if self.capability >= BFLOAT16_CAPABILITY:
            return "mixed_bfloat16"  # float16's smaller range may overflow on an image unlike those of the sample
        return "mixed_float16" if self.capability >= FLOAT16_CAPABILITY else "float32"


def may_have_gpu() -> bool:
    """Tell, without importing a backend, whether there may be a GPU: False only if there certainly is none."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return not sys.platform.startswith("linux") or any(Path(node).exists() for node in GPU_NODES)


def available_gpus() -> list[Gpu]:
    """Return the GPUs of the Keras backend; also makes TensorFlow allocate their memory only as needed."""
    if not may_have_gpu():
        return []
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    match keras.backend.backend():
        case "tensorflow":
            return _tensorflow_gpus()
        case "jax":
            import jax  # type: ignore[import-not-found] # an optional backend

            found = [device for device in jax.devices() if device.platform == "gpu"]
            return [Gpu(gpu.device_kind, _major_version(getattr(gpu, "compute_capability", 0))) for gpu in found]
        case "torch":
            import torch  # type: ignore[import-not-found] # as above

            numbers = range(torch.cuda.device_count())
            return [Gpu(torch.cuda.get_device_name(one), torch.cuda.get_device_capability(one)[0]) for one in numbers]
    return []


def _tensorflow_gpus() -> list[Gpu]:
    import tensorflow as tf

    found = []
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        found.append(
            Gpu(details.get("device_name", device.name), _major_version(*details.get("compute_capability", (0,))[:1]))
        )
        try:
            tf.config.experimental.set_memory_growth(device, True)
        except RuntimeError:  # TensorFlow is initialised already and keeps its earlier setting
            continue
    return found


def _major_version(capability: str | float) -> int:
    return int(str(capability).partition(".")[0])


def cpu_precisions() -> list[str]:
    """Return the precisions that OpenVINO runs at full speed on this CPU: f32, and bf16 with AVX-512 BF16 or AMX."""
    silence_telemetry()
    import openvino

    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["f32", "bf16"] if "BF16" in capabilities else ["f32"]
