"""The two engines that turn images into probabilities: OpenVINO on CPUs, Keras on GPUs and where OpenVINO is unfit.

An engine takes uint8 images (n, height, width, channels), for any n, and returns float32 probabilities (n, classes).
Both engines run batches of a fixed size and pad the last one, because each new shape would be compiled again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np

from models.serving.quiet_imports import silence_telemetry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    Images = NDArray[np.uint8]
    Probabilities = NDArray[np.float32]
    Forward = Callable[[Images], Probabilities]

MIN_REQUEST_IMAGES: Final = 4
"""Minimum number of images in an OpenVINO request: with fewer, the overhead of requests is measurable."""
MAX_REQUEST_IMAGES: Final = 8
"""Maximum: more are not faster, and their activations push concurrently decoded images out of the CPU cache."""


class Engine(Protocol):
    """Computes probabilities in batches; the batch size may shrink over time."""

    name: str

    @property
    def batch_size(self) -> int:
        """Images in one batch."""
        ...

    def __call__(self, images: Images) -> Probabilities:
        """Score images (n, height, width, channels), n at least 1."""
        ...


class OpenVinoEngine:
    """A converted model on the CPU, with as many parallel requests as OpenVINO considers best for throughput.

    A batch is split into requests, so a single batch keeps all cores busy too.
    """

    def __init__(self, graph: Path, precision: Literal["f32", "bf16"], batch_size: int) -> None:
        silence_telemetry()
        import openvino
        from openvino.preprocess import PrePostProcessor

        self.name = f"openvino-{precision}"
        self._batch_size = batch_size
        core = openvino.Core()
        # Decoding threads use the same cores, and pinned inference threads would have to wait for them.
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": precision,
            "ENABLE_CPU_PINNING": False,
        }
        model = core.read_model(graph)
        processor = PrePostProcessor(model)
        processor.input().tensor().set_element_type(openvino.Type.u8)  # a quarter of the bytes, converted in the graph
        model = processor.build()
        shape = model.input().partial_shape
        requests = 0
        self.request_size = min(batch_size, MAX_REQUEST_IMAGES)
        for _ in range(2):  # the best number of requests is known only after compilation, and determines their size
            shape[0] = self.request_size
            model.reshape(shape)
            compiled = core.compile_model(model, "CPU", settings)
            requests = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            size = min(batch_size, MAX_REQUEST_IMAGES, max(MIN_REQUEST_IMAGES, -(-batch_size // requests)))
            if size == self.request_size:
                break
            self.request_size = size
        self.classes = int(compiled.output(0).shape[-1])
        self.queue = openvino.AsyncInferQueue(compiled, requests)

    @property
    def batch_size(self) -> int:
        """Images that are processed at a time."""
        return self._batch_size

    def __call__(self, images: Images) -> Probabilities:
        """See `Engine`."""
        probabilities = np.empty((len(images), self.classes), np.float32)

        def store(request: Any, start: int) -> None:
            outputs = request.get_output_tensor(0).data
            probabilities[start : start + self.request_size] = outputs[: len(images) - start]

        self.queue.set_callback(store)
        images = np.ascontiguousarray(images)
        parts = []  # requests do not copy their input, so it must stay alive until all are done
        for start in range(0, len(images), self.request_size):
            parts.append(_pad(images[start : start + self.request_size], self.request_size))
            self.queue.start_async({0: parts[-1]}, start, share_inputs=True)
        self.queue.wait_all()
        return probabilities


class KerasEngine:
    """A Keras model on the configured backend; halves its batches when memory runs out."""

    def __init__(self, model: keras.Model, batch_size: int, *, gpu: bool, policy: str = "float32") -> None:
        import keras

        device = "gpu" if gpu else "cpu"
        self.name = "-".join(["keras", keras.backend.backend(), device] + ([] if policy == "float32" else [policy]))
        self.model = model if policy == "float32" else with_policy(model, policy)
        self._halving = BatchHalving(self._forward, batch_size)

    @property
    def batch_size(self) -> int:
        """Images in one batch; smaller than the requested size once memory has run out."""
        return self._halving.batch_size

    def __call__(self, images: Images) -> Probabilities:
        """See `Engine`."""
        return self._halving(images)

    def _forward(self, images: Images) -> Probabilities:
        return np.asarray(self.model.predict_on_batch(images), np.float32)


class BatchHalving:
    """Runs a forward function in batches, and halves the batch size when memory runs out."""

    def __init__(self, forward: Forward, batch_size: int) -> None:
        self.forward, self.batch_size = forward, batch_size

    def __call__(self, images: Images) -> Probabilities:
        """Score all images; raises any error but lack of memory, and lack of memory for a single image."""
        batches: list[Probabilities] = []
        start = 0
        while start < len(images):
            size = self.batch_size
            part = images[start : start + size]
            try:
                batches.append(self.forward(_pad(part, size))[: len(part)])
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
                self.batch_size = size // 2
            else:
                start += size
        return np.concatenate(batches)


def is_out_of_memory(error: Exception) -> bool:
    """Recognise TensorFlow's, JAX's and PyTorch's out-of-memory errors by name, without importing them."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"ResourceExhaustedError", "OutOfMemoryError"}:
        return True
    return bool(names & {"XlaRuntimeError", "JaxRuntimeError", "InternalError"}) and "RESOURCE_EXHAUSTED" in str(error)


def with_policy(model: keras.Model, policy: str) -> keras.Model:
    """Return a copy with a mixed-precision dtype policy; variables and the output layer stay float32."""
    import keras

    def under_policy(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name not in model.output_names:
            config["dtype"] = policy
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=under_policy, recursive=True)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # otherwise it keeps the mean and variance from its construction
    return copy


def _pad(images: Images, size: int) -> Images:
    """Append black images up to `size`."""
    if len(images) == size:
        return images
    return np.concatenate([images, np.zeros((size - len(images), *images.shape[1:]), np.uint8)])
