"""ResNet-18 and ResNet-34 (He et al., CVPR 2016), which keras.applications lacks.

Padding, the position of strides, the batch normalisation constants and the layer names follow torchvision, so that its
weights fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras
from keras import layers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FILTERS: Final = (64, 128, 256, 512)
BATCH_NORM_EPSILON: Final = 1e-5
BATCH_NORM_MOMENTUM: Final = 0.9
"""torchvision defines momentum the other way round, and has 0.1."""
BATCH_NORM_TENSORS: Final = ("weight", "bias", "running_mean", "running_var")
"""torchvision's tensor names, in the order of the weights of Keras's batch normalisation."""


def resnet(x: keras.KerasTensor, blocks: tuple[int, int, int, int]) -> keras.KerasTensor:
    """Return the last feature maps of a ResNet of basic blocks.

    Args:
        x: (n, height, width, 3), scaled.
        blocks: number of blocks in each of the four stages: (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) is ResNet-34.

    Returns:
        (n, height / 32, width / 32, 512)
    """
    x = _convolution(x, FILTERS[0], 7, 2, "conv1", "bn1")
    x = layers.Activation("relu", name="relu")(x)
    x = layers.ZeroPadding2D(1, name="maxpool_pad")(x)  # zeros do not change a maximum after a ReLU
    x = layers.MaxPooling2D(3, strides=2, name="maxpool")(x)
    for stage, (filters, count) in enumerate(zip(FILTERS, blocks, strict=True), 1):
        for block in range(count):
            x = _basic_block(x, filters, 2 if stage > 1 and not block else 1, f"layer{stage}_{block}")
    return x


def load_torch_weights(backbone: keras.Model, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Load torchvision's weights into a network.

    Args:
        backbone: a model with the layers that `resnet` made.
        tensors: by torchvision's names, such as layer1.0.conv1.weight; the classifier's tensors are ignored.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has the wrong shape.
    """
    for layer in backbone.layers:
        name = layer.name.replace("_", ".")
        if isinstance(layer, layers.Conv2D):
            layer.set_weights([tensors[f"{name}.weight"].transpose(2, 3, 1, 0)])
        elif isinstance(layer, layers.BatchNormalization):
            layer.set_weights([tensors[f"{name}.{what}"] for what in BATCH_NORM_TENSORS])


def _basic_block(x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
    """A basic block: two convolutions and a skip connection."""
    shortcut = x
    if stride > 1:
        shortcut = _convolution(x, filters, 1, stride, f"{name}_downsample_0", f"{name}_downsample_1")
    x = _convolution(x, filters, 3, stride, f"{name}_conv1", f"{name}_bn1")
    x = layers.Activation("relu", name=f"{name}_relu1")(x)
    x = _convolution(x, filters, 3, 1, f"{name}_conv2", f"{name}_bn2")
    return layers.Activation("relu", name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, shortcut]))


def _convolution(
    x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str, norm: str
) -> keras.KerasTensor:
    """Convolution, padded equally on all sides, and batch normalisation."""
    if kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    initial = keras.initializers.HeNormal()
    x = layers.Conv2D(filters, kernel, strides=stride, use_bias=False, kernel_initializer=initial, name=name)(x)
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, name=norm)(x)
