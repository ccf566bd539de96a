"""What there is to compute on: GPUs that the Keras backend sees, and what the processor can multiply.

The only file that knows the backends by name; each is imported only if it is the configured one.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.serving.quiet_imports import silence_telemetry

GPU_NODES: Final = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvmap", "/dev/kfd", "/dev/dxg")
"""NVIDIA, Jetson, AMD, WSL: without one of these files Linux has no GPU to compute on."""
BFLOAT16_CAPABILITY: Final = 8
FLOAT16_CAPABILITY: Final = 7
"""CUDA compute capabilities from which tensor cores know the two types."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that the Keras backend can use."""

    name: str
    capability: int
    """Major CUDA compute capability, 0 where unknown."""

    @property
    def policy(self) -> str:
        """The Keras dtype policy that suits it."""
        if self.capability >= BFLOAT16_CAPABILITY:
            return "mixed_bfloat16"  # float16's smaller range can overflow in a layer that no sample reaches
        return "mixed_float16" if self.capability >= FLOAT16_CAPABILITY else "float32"


def gpu_may_be_there() -> bool:
    """Say at once whether asking a backend for a GPU is worth importing it: False only if there surely is none."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return not sys.platform.startswith("linux") or any(Path(node).exists() for node in GPU_NODES)


def gpus() -> list[Gpu]:
    """Ask the Keras backend for its GPUs; TensorFlow is told to take their memory only as it needs it."""
    if not gpu_may_be_there():
        return []
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    match keras.backend.backend():
        case "tensorflow":
            return _tensorflow()
        case "jax":
            import jax  # type: ignore[import-not-found] # an optional backend

            found = [device for device in jax.devices() if device.platform == "gpu"]
            return [Gpu(gpu.device_kind, _major(getattr(gpu, "compute_capability", 0))) for gpu in found]
        case "torch":
            import torch  # type: ignore[import-not-found] # as above

            numbers = range(torch.cuda.device_count())
            return [Gpu(torch.cuda.get_device_name(one), torch.cuda.get_device_capability(one)[0]) for one in numbers]
    return []


def _tensorflow() -> list[Gpu]:
    import tensorflow as tf

    found = []
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        found.append(Gpu(details.get("device_name", device.name), _major(*details.get("compute_capability", (0,))[:1])))
        try:
            tf.config.experimental.set_memory_growth(device, True)
        except RuntimeError:  # TensorFlow already runs, with whatever was set before
            continue
    return found


def _major(capability: str | float) -> int:
    return int(str(capability).partition(".")[0])


def processor_precisions() -> list[str]:
    """Precisions in which OpenVINO scores on this processor at full speed: f32, and bf16 (AVX-512 BF16, AMX)."""
    silence_telemetry()
    import openvino

    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["f32", "bf16"] if "BF16" in capabilities else ["f32"]
