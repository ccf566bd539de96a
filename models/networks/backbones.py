"""Backbones from keras.applications without their tops, and ResNet-18/34, each behind the scaling that it expects.

Each set of ImageNet weights expects pixels scaled in its own way; one layer inside the graph does that. The three
channels of a radiograph are equal, so the channel order, which differs for VGG and ResNet, matters for the means only.
The networks are not nested: each layer of a backbone can be frozen, converted and explained like any other.

Initial weights follow `keras.utils.set_random_seed`, as in keras.applications.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import keras
from keras import applications, layers

from models.networks.head import head
from models.networks.resnet import resnet

if TYPE_CHECKING:
    from collections.abc import Callable

    Numbers = float | list[float]

COLOURS: Final = 3
FEATURES: Final = "features"
"""Name of the layer that turns a backbone's feature maps into a vector."""
SYMMETRIC: Final = (1 / 127.5, -1.0)
"""Scale and offset that map 0 to 255 onto -1 to 1."""
CAFFE: Final = (1.0, [-103.939, -116.779, -123.68])
"""Subtracts ImageNet's means, in the order blue, green, red."""
MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
TORCH: Final = (
    [1 / (255 * deviation) for deviation in DEVIATION],
    [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)],
)
"""Subtracts ImageNet's means and divides by its standard deviations."""
EFFICIENTNET: Final = (
    [deviation**-0.5 for deviation in DEVIATION],
    [255 * mean * (1 - deviation**-0.5) for mean, deviation in zip(MEAN, DEVIATION, strict=True)],
)
"""Keras's EfficientNet divides by the square root of the deviation, but its weights expect the deviation itself. Keras
corrects this with a layer that it adds only when it downloads the weights; this scaling makes up for that layer."""
EFFICIENTNET_V2: Final = (1 / 128, -1.0)


def _applied(build: Callable[..., keras.Model], x: keras.KerasTensor, **more: Any) -> keras.KerasTensor:
    """The last feature maps of a network of keras.applications on a tensor."""
    return build(input_tensor=x, weights=None, include_top=False, **more).output


BACKBONES: Final[dict[str, tuple[tuple[Numbers, Numbers], Callable[[keras.KerasTensor], keras.KerasTensor]]]] = {
    "xception": (SYMMETRIC, partial(_applied, applications.Xception)),
    "vgg16": (CAFFE, partial(_applied, applications.VGG16)),
    "vgg19": (CAFFE, partial(_applied, applications.VGG19)),
    "resnet50": (CAFFE, partial(_applied, applications.ResNet50)),
    "resnet101": (CAFFE, partial(_applied, applications.ResNet101)),
    "resnet101v2": (SYMMETRIC, partial(_applied, applications.ResNet101V2)),
    "inceptionv3": (SYMMETRIC, partial(_applied, applications.InceptionV3)),
    "inceptionresnetv2": (SYMMETRIC, partial(_applied, applications.InceptionResNetV2)),
    "efficientnetb0": (EFFICIENTNET, partial(_applied, applications.EfficientNetB0)),
    "efficientnetv2s": (EFFICIENTNET_V2, partial(_applied, applications.EfficientNetV2S, include_preprocessing=False)),
    "efficientnetv2m": (EFFICIENTNET_V2, partial(_applied, applications.EfficientNetV2M, include_preprocessing=False)),
    "resnet18": (TORCH, partial(resnet, blocks=(2, 2, 2, 2))),
    "resnet34": (TORCH, partial(resnet, blocks=(3, 4, 6, 3))),
}
"""By backbone: scale and offset of the pixels, and the function from a tensor to its last feature maps."""


def with_mean(shape: tuple[int, int, int], classes: int, seed: int = 0, *, backbone: str) -> keras.Model:
    """A backbone, global average pooling, and the classification head.

    Args:
        shape: (height, width, 1 or 3) of one preprocessed image; a single channel is repeated.
        classes: number of classes.
        seed: of the head's initial weights; the backbone's follow `keras.utils.set_random_seed`.
        backbone: a name in `BACKBONES`.

    Returns:
        Model from (n, height, width, channels), values 0 to 255 of any numeric type, to float32 (n, classes).
    """
    inputs, maps = _maps(shape, backbone)
    x = layers.GlobalAveragePooling2D(name=FEATURES)(maps)
    return keras.Model(inputs, head(x, classes, seed), name=backbone)


def harrisburg_vgg19(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """VGG19, global max pooling and a dense layer of 128 units: 20,090,306 parameters with two classes.

    65,922 of them are trained while the backbone is frozen. See `with_mean` for the arguments.
    """
    inputs, maps = _maps(shape, "vgg19")
    x = layers.GlobalMaxPooling2D(name=FEATURES)(maps)
    initial = keras.initializers.GlorotUniform(seed=seed + 1)
    x = layers.Dense(128, activation="relu", kernel_initializer=initial, name="dense")(x)
    return keras.Model(inputs, head(x, classes, seed), name="harrisburg_vgg19")


def backbone_of(model: keras.Model) -> keras.Model:
    """Return a network's backbone, up to its feature maps; it shares its layers with the network.

    Raises:
        ValueError: the network has no backbone.
    """
    if FEATURES not in [layer.name for layer in model.layers]:
        raise ValueError(f"{model.name} has no backbone: no layer is called {FEATURES!r}")
    return keras.Model(model.input, model.get_layer(FEATURES).input, name=f"{model.name}_backbone")


def freeze(model: keras.Model, trained: float) -> None:
    """Freeze a backbone except for a share of its layers with weights, counted from its end.

    A frozen batch normalisation layer uses its stored means and variances and no longer updates them.

    Args:
        model: a network with a backbone; compile it afterwards.
        trained: share of the layers that stay trainable: 0 freezes the backbone, 1 freezes nothing.

    Raises:
        ValueError: the network has no backbone.
    """
    with_weights = [layer for layer in backbone_of(model).layers if layer.weights]
    frozen = round(len(with_weights) * (1 - trained))
    for place, layer in enumerate(with_weights):
        layer.trainable = place >= frozen


def _maps(shape: tuple[int, int, int], backbone: str) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input, and a backbone's last feature maps on it."""
    (scale, offset), build = BACKBONES[backbone]
    inputs = keras.Input(shape, name="pixels")
    x = inputs if shape[-1] == COLOURS else layers.Concatenate(name="three_channels")([inputs] * COLOURS)
    x = layers.Rescaling(scale, offset=offset, name="as_the_weights_expect")(x)
    return inputs, build(x)


BACKBONE_NETWORKS: Final[dict[str, Callable[[tuple[int, int, int], int, int], keras.Model]]] = {
    **{name: partial(with_mean, backbone=name) for name in BACKBONES},
    "harrisburg_vgg19": harrisburg_vgg19,
}
"""Network builders by architecture name."""
