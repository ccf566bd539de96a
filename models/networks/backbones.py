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

from models.networks.head import classification_head
from models.networks.resnet import resnet

if TYPE_CHECKING:
    from collections.abc import Callable

    Numbers = float | list[float]

COLOUR_CHANNELS: Final = 3
FEATURES_LAYER: Final = "features"
"""Name of the layer that turns a backbone's feature maps into a vector."""
SYMMETRIC_SCALING: Final = (1 / 127.5, -1.0)
"""Scale and offset that map 0 to 255 onto -1 to 1."""
CAFFE_SCALING: Final = (1.0, [-103.939, -116.779, -123.68])
"""Subtracts ImageNet's means, in the order blue, green, red."""
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)
TORCH_SCALING: Final = (
    [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION],
    [-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)],
)
"""Subtracts ImageNet's means and divides by its standard deviations."""
EFFICIENTNET_SCALING: Final = (
    [deviation**-0.5 for deviation in IMAGENET_DEVIATION],
    [255 * mean * (1 - deviation**-0.5) for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)],
)
"""Keras's EfficientNet divides by the square root of the deviation, but its weights expect the deviation itself. Keras
corrects this with a layer that it adds only when it downloads the weights; this scaling makes up for that layer."""
EFFICIENTNET_V2_SCALING: Final = (1 / 128, -1.0)


def _application_maps(build: Callable[..., keras.Model], x: keras.KerasTensor, **more: Any) -> keras.KerasTensor:
    """The last feature maps of a network of keras.applications on a tensor."""
    return build(input_tensor=x, weights=None, include_top=False, **more).output


BACKBONES: Final[dict[str, tuple[tuple[Numbers, Numbers], Callable[[keras.KerasTensor], keras.KerasTensor]]]] = {
    "xception": (SYMMETRIC_SCALING, partial(_application_maps, applications.Xception)),
    "vgg16": (CAFFE_SCALING, partial(_application_maps, applications.VGG16)),
    "vgg19": (CAFFE_SCALING, partial(_application_maps, applications.VGG19)),
    "resnet50": (CAFFE_SCALING, partial(_application_maps, applications.ResNet50)),
    "resnet101": (CAFFE_SCALING, partial(_application_maps, applications.ResNet101)),
    "resnet101v2": (SYMMETRIC_SCALING, partial(_application_maps, applications.ResNet101V2)),
    "inceptionv3": (SYMMETRIC_SCALING, partial(_application_maps, applications.InceptionV3)),
    "inceptionresnetv2": (SYMMETRIC_SCALING, partial(_application_maps, applications.InceptionResNetV2)),
    "efficientnetb0": (EFFICIENTNET_SCALING, partial(_application_maps, applications.EfficientNetB0)),
    "efficientnetv2s": (
        EFFICIENTNET_V2_SCALING,
        partial(_application_maps, applications.EfficientNetV2S, include_preprocessing=False),
    ),
    "efficientnetv2m": (
        EFFICIENTNET_V2_SCALING,
        partial(_application_maps, applications.EfficientNetV2M, include_preprocessing=False),
    ),
    "resnet18": (TORCH_SCALING, partial(resnet, blocks=(2, 2, 2, 2))),
    "resnet34": (TORCH_SCALING, partial(resnet, blocks=(3, 4, 6, 3))),
}
"""By backbone: scale and offset of the pixels, and the function from a tensor to its last feature maps."""


def backbone_classifier(shape: tuple[int, int, int], classes: int, seed: int = 0, *, backbone: str) -> keras.Model:
    """A backbone, global average pooling, and the classification head.

    Args:
        shape: (height, width, 1 or 3) of one preprocessed image; a single channel is repeated.
        classes: number of classes.
        seed: of the head's initial weights; the backbone's follow `keras.utils.set_random_seed`.
        backbone: a name in `BACKBONES`.

    Returns:
        Model from (n, height, width, channels), values 0 to 255 of any numeric type, to float32 (n, classes).
    """
    inputs, maps = _feature_maps(shape, backbone)
    x = layers.GlobalAveragePooling2D(name=FEATURES_LAYER)(maps)
    return keras.Model(inputs, classification_head(x, classes, seed), name=backbone)


def harrisburg_vgg19(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """VGG19, global max pooling and a dense layer of 128 units: 20,090,306 parameters with two classes.

    65,922 of them are trained while the backbone is frozen. See `backbone_classifier` for the arguments.
    """
    inputs, maps = _feature_maps(shape, "vgg19")
    x = layers.GlobalMaxPooling2D(name=FEATURES_LAYER)(maps)
    initial = keras.initializers.GlorotUniform(seed=seed + 1)
    x = layers.Dense(128, activation="relu", kernel_initializer=initial, name="dense")(x)
    return keras.Model(inputs, classification_head(x, classes, seed), name="harrisburg_vgg19")


def backbone_of(model: keras.Model) -> keras.Model:
    """Return a network's backbone, up to its feature maps; it shares its layers with the network.

    Raises:
        ValueError: the network has no backbone.
    """
    if FEATURES_LAYER not in [layer.name for layer in model.layers]:
        raise ValueError(f"{model.name} has no backbone: no layer is called {FEATURES_LAYER!r}")
    return keras.Model(model.input, model.get_layer(FEATURES_LAYER).input, name=f"{model.name}_backbone")


def freeze(model: keras.Model, trainable_share: float) -> None:
    """Freeze a backbone except for a share of its layers with weights, counted from its end.

    A frozen batch normalisation layer uses its stored means and variances and no longer updates them.

    Args:
        model: a network with a backbone; compile it afterwards.
        trainable_share: share of the layers that stay trainable: 0 freezes the backbone, 1 freezes nothing.

    Raises:
        ValueError: the network has no backbone.
    """
    with_weights = [layer for layer in backbone_of(model).layers if layer.weights]
    frozen = round(len(with_weights) * (1 - trainable_share))
    for place, layer in enumerate(with_weights):
        layer.trainable = place >= frozen


def _feature_maps(shape: tuple[int, int, int], backbone: str) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input, and a backbone's last feature maps on it."""
    (scale, offset), build = BACKBONES[backbone]
    inputs = keras.Input(shape, name="pixels")
    x = (
        inputs
        if shape[-1] == COLOUR_CHANNELS
        else layers.Concatenate(name="three_channels")([inputs] * COLOUR_CHANNELS)
    )
    x = layers.Rescaling(scale, offset=offset, name="as_the_weights_expect")(x)
    return inputs, build(x)


BACKBONE_NETWORKS: Final[dict[str, Callable[[tuple[int, int, int], int, int], keras.Model]]] = {
    **{name: partial(backbone_classifier, backbone=name) for name in BACKBONES},
    "harrisburg_vgg19": harrisburg_vgg19,
}
"""Network builders by architecture name."""
