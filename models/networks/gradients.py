"""The gradient of a score with respect to activations, which Keras computes for weights only.

Beside `models.devices` the only file that knows the backends by name; each is imported only if it is the one in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


def gradients(score: Callable[[list[Any]], Any], activations: Sequence[Any]) -> list[NDArray[np.float32]]:
    """Differentiate a score.

    Args:
        score: from a list of tensors of the backend to a single number, as such a tensor.
        activations: tensors of the backend.

    Returns:
        One for each of the activations, of its shape.

    Raises:
        NotImplementedError: the Keras backend has no gradients.
    """
    given = list(activations)
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(given)
                value = score(given)
            found = tape.gradient(value, given)
        case "jax":
            import jax  # type: ignore[import-not-found] # an optional backend

            found = jax.grad(score)(given)
        case "torch":
            import torch  # type: ignore[import-not-found] # as above

            leaves = [one.detach().requires_grad_(True) for one in given]
            found = torch.autograd.grad(score(leaves), leaves)
        case other:
            raise NotImplementedError(f"Keras's backend {other} computes no gradients")
    return [np.asarray(keras.ops.convert_to_numpy(one), np.float32) for one in found]
