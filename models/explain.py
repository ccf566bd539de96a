"""Where a network looked: Grad-CAM (Selvaraju et al., ICCV 2017), for any network that ends in pooled feature maps.

A heatmap shows which parts of the last feature maps speak for a class. It is as coarse as these maps, and it is no
proof that what lies there is the finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import cv2
import keras
import numpy as np

from models.gradients import gradient

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    wanted = keras.ops.one_hot(np.asarray(classes, np.int32), model.output_shape[-1])

    def score(activations: Any) -> Any:
        return keras.ops.sum(scores(activations, training=False) * wanted)

    # An image's score depends on its own maps alone, so the gradient of the sum holds each image's.
    slopes = gradient(score, features)
    values = np.asarray(keras.ops.convert_to_numpy(features), np.float32)
    heat = np.maximum((values * slopes.mean(axis=(1, 2), keepdims=True)).sum(axis=-1), 0)
    height, width = images.shape[1:3]
    sized = np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in heat])
    highest = sized.max(axis=(1, 2), keepdims=True)
    shown: NDArray[np.float32] = np.where(highest > SMALLEST, sized / np.maximum(highest, SMALLEST), 0)
    return shown.astype(np.float32)


def _halves(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a network behind its last feature maps: images to maps, and maps to the scores before the softmax."""
    pooling = [
        layer
        for layer in model.layers
        if _rank(layer, "input") == MAP_RANK and 0 < _rank(layer, "output") < MAP_RANK
    ]  # fmt: skip
    if not pooling:
        raise ValueError(f"{model.name} has no layer that turns feature maps into a vector: nothing to explain")
    maps, last = pooling[-1].input, model.layers[-1]
    if isinstance(last, keras.layers.Softmax) or type(last) is keras.layers.Activation:
        scores = last.input
    else:  # the softmax is part of the layer: a copy without it
        linear = type(last).from_config(last.get_config() | {"activation": "linear"})
        scores = linear(last.input)
        linear.set_weights(last.get_weights())
    return keras.Model(model.input, maps), keras.Model(maps, scores)


def _rank(layer: keras.layers.Layer, which: str) -> int:
    """Rank of a layer's tensor; 0 where it has none or several."""
    tensor: Any = getattr(layer, which, None)
    return len(tensor.shape) if keras.backend.is_keras_tensor(tensor) else 0
