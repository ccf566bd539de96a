"""The gradient of a score with respect to activations, which Keras computes for weights only.

Beside `models.devices` the only file that knows the backends by name; each is imported only if it is the one in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def gradient(score: Callable[[Any], Any], activations: Any) -> NDArray[np.floating[Any]]:
    """Differentiate a score.

    Args:
        score: from a tensor of activations to a single number, as a tensor of the backend.
        activations: a tensor of the backend.

    Returns:
        Of the activations' shape.

    Raises:
        NotImplementedError: the Keras backend has no gradients.
    """
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(activations)
                value = score(activations)
            found = tape.gradient(value, activations)
        case "jax":
            import jax  # type: ignore[import-not-found] # an optional backend

            found = jax.grad(score)(activations)
        case "torch":
            import torch  # type: ignore[import-not-found] # as above

            leaf = activations.detach().requires_grad_(True)
            (found,) = torch.autograd.grad(score(leaf), leaf)
        case other:
            raise NotImplementedError(f"Keras's backend {other} computes no gradients")
    return np.asarray(keras.ops.convert_to_numpy(found), np.float32)
