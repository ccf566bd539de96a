"""Grad-CAM (Selvaraju et al., ICCV 2017) for any network that ends in a feature vector: where the network looked.

The heat map comes from the last feature maps before that vector. Where several branches end in the vector, as in a
network that reads texture and shape separately, each branch contributes as much as it adds to the score. A heat map
shows which parts of the feature maps support a class. It is as coarse as they are, and it does not prove that the
finding lies there.
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
NEGLIGIBLE_HEAT: Final = 1e-7


def grad_cam(
    model: keras.Model, images: NDArray[np.uint8], classes: Sequence[int] | NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Compute heat maps: the last feature maps, weighted by how much each supports a class, at the images' size.

    Args:
        model: from (n, height, width, channels) to probabilities (n, classes).
        images: (n, height, width, channels), preprocessed.
        classes: (n,) index of the class to explain in each image.

    Returns:
        (n, height, width), each image's maximum 1; all 0 where nothing supports the class.

    Raises:
        ValueError: the network has no feature maps before its scores.
    """
    maps, scores = _split_at_feature_maps(model)
    features = maps(images, training=False)
    if len(maps.outputs) == 1:  # Keras unpacks a list of one output, and takes no list of one input
        features = [features]
    one_hot = keras.ops.one_hot(np.asarray(classes, np.int32), model.output_shape[-1])

    def score(activations: list[Any]) -> Any:
        return keras.ops.sum(scores(activations if len(activations) > 1 else activations[0], training=False) * one_hot)

    # An image's score depends only on its own maps, so the gradient of the sum holds each image's gradient.
    height, width = images.shape[1:3]
    heat = np.zeros((len(images), height, width), np.float32)
    for tensor, gradient in zip(features, gradients(score, features), strict=True):
        activations = np.asarray(keras.ops.convert_to_numpy(tensor), np.float32)
        contribution = (activations * gradient.mean(axis=(1, 2), keepdims=True)).sum(axis=-1)
        cells = contribution.shape[1] * contribution.shape[2]  # a cell of coarse maps is spread over more pixels
        size, how = (width, height), cv2.INTER_LINEAR
        heat += cells * np.stack([cv2.resize(one, size, interpolation=how) for one in contribution])
    heat = np.maximum(heat, 0)
    maximum = heat.max(axis=(1, 2), keepdims=True)
    normalised: NDArray[np.float32] = np.where(
        maximum > NEGLIGIBLE_HEAT, heat / np.maximum(maximum, NEGLIGIBLE_HEAT), 0
    )
    return normalised.astype(np.float32)


def _split_at_feature_maps(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a network after its last feature maps: images to maps, and maps to the scores before the softmax."""
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax) or type(last) is keras.layers.Activation:
        scores = last.input
    else:  # the softmax is part of the layer: a copy without it
        linear = type(last).from_config(last.get_config() | {"activation": "linear"})
        scores = linear(last.input)
        linear.set_weights(last.get_weights())
    maps = _last_feature_maps(scores)
    if not maps or any(one is image for one in maps for image in model.inputs):
        raise ValueError(f"{model.name} has no feature maps before its scores: there is nothing to explain")
    return keras.Model(model.input, maps), keras.Model(maps, scores)


def _last_feature_maps(scores: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Walk back from the scores to the first feature maps on each branch."""
    maps: dict[int, keras.KerasTensor] = {}
    visited: set[int] = set()
    pending = [scores]
    while pending:
        tensor = pending.pop()
        if id(tensor) in visited:
            continue
        visited.add(id(tensor))
        if len(tensor.shape) == MAP_RANK:
            maps[id(tensor)] = tensor
            continue
        history = tensor._keras_history  # noqa: SLF001 - Keras offers no other way through its graph
        pending += history.operation._inbound_nodes[history.node_index].input_tensors  # noqa: SLF001 - as above
    return list(maps.values())


def gradients(score: Callable[[list[Any]], Any], activations: Sequence[Any]) -> list[NDArray[np.float32]]:
    """Differentiate a score.

    Args:
        score: from a list of the backend's tensors to a scalar tensor.
        activations: tensors of the backend.

    Returns:
        A gradient for each of the activations, of its shape.

    Raises:
        NotImplementedError: the Keras backend has no gradients.
    """
    tensors = list(activations)
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(tensors)
                value = score(tensors)
            result = tape.gradient(value, tensors)
        case "jax":
            import jax  # type: ignore[import-not-found] # an optional backend

            result = jax.grad(score)(tensors)
        case "torch":
            import torch  # type: ignore[import-not-found] # as above

            leaves = [one.detach().requires_grad_(True) for one in tensors]
            result = torch.autograd.grad(score(leaves), leaves)
        case other:
            raise NotImplementedError(f"Keras's backend {other} computes no gradients")
    return [np.asarray(keras.ops.convert_to_numpy(one), np.float32) for one in result]
