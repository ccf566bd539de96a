"""Where a network looked: Grad-CAM (Selvaraju et al., ICCV 2017), for any network that ends in a vector of features.

The maps are the last ones before that vector. Where several branches end in it, as in a network that reads texture and
shape apart, each branch's maps count by how much they add to the score, and the sum is shown. A heatmap shows which
parts of these maps speak for a class. It is as coarse as they are, and it is no proof that what lies there is the
finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import cv2
import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


MAP_RANK: Final = 4
"""(n, height, width, channels)"""
SMALLEST: Final = 1e-7


def grad_cam(
    model: keras.Model, images: NDArray[np.uint8], classes: Sequence[int] | NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Weigh the last feature maps by how much each speaks for a class, and lay the sum over the images.

    Args:
        model: from (n, height, width, channels) to probabilities (n, classes).
        images: (n, height, width, channels), preprocessed.
        classes: (n,) whose class is explained in each image.

    Returns:
        (n, height, width), 0 to 1 where the class is spoken for most; all 0 where nothing speaks for it.

    Raises:
        ValueError: the network has no layer that turns feature maps into a vector.
    """
    maps, scores = _halves(model)
    features = maps(images, training=False)
    if len(maps.outputs) == 1:  # Keras unpacks a list of one, and takes none
        features = [features]
    wanted = keras.ops.one_hot(np.asarray(classes, np.int32), model.output_shape[-1])

    def score(activations: list[Any]) -> Any:
        return keras.ops.sum(scores(activations if len(activations) > 1 else activations[0], training=False) * wanted)

    # An image's score depends on its own maps alone, so the gradient of the sum holds each image's.
    height, width = images.shape[1:3]
    heat = np.zeros((len(images), height, width), np.float32)
    for tensor, slopes in zip(features, gradients(score, features), strict=True):
        values = np.asarray(keras.ops.convert_to_numpy(tensor), np.float32)
        added = (values * slopes.mean(axis=(1, 2), keepdims=True)).sum(axis=-1)
        cells = added.shape[1] * added.shape[2]  # a cell of coarse maps is spread over more pixels
        heat += cells * np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in added])
    heat = np.maximum(heat, 0)
    highest = heat.max(axis=(1, 2), keepdims=True)
    shown: NDArray[np.float32] = np.where(highest > SMALLEST, heat / np.maximum(highest, SMALLEST), 0)
    return shown.astype(np.float32)


def _halves(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a network behind its last feature maps: images to maps, and maps to the scores before the softmax."""
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax) or type(last) is keras.layers.Activation:
        scores = last.input
    else:  # the softmax is part of the layer: a copy without it
        linear = type(last).from_config(last.get_config() | {"activation": "linear"})
        scores = linear(last.input)
        linear.set_weights(last.get_weights())
    maps = _last_maps(scores)
    if not maps or any(one is given for one in maps for given in model.inputs):  # an image is no map of features
        raise ValueError(f"{model.name} has no feature maps behind its scores: there is nothing to explain")
    return keras.Model(model.input, maps), keras.Model(maps, scores)


def _last_maps(scores: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Walk back from the scores to the first feature maps on each way."""
    found: dict[int, keras.KerasTensor] = {}
    seen: set[int] = set()
    waiting = [scores]
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if len(tensor.shape) == MAP_RANK:
            found[id(tensor)] = tensor
            continue
        history = tensor._keras_history  # noqa: SLF001 - Keras offers no other way through its graph
        waiting += history.operation._inbound_nodes[history.node_index].input_tensors  # noqa: SLF001 - as above
    return list(found.values())


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
