"""Known networks as backbones: keras.applications without their tops, and ResNet-18/34, behind the right preprocessing.

Each set of ImageNet weights expects pixels scaled in its own way; that is done inside the graph, in one layer. All
three channels of a radiograph are equal, so that the order of colours, which the weights of VGG and ResNet change, is
told by their means alone. The networks are flat: a layer can be frozen, converted and explained like any other.

Without weights the initial values follow `keras.utils.set_random_seed`, as those of keras.applications do.
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
"""Name of the layer that makes a vector of a backbone's maps."""
SYMMETRIC: Final = (1 / 127.5, -1.0)
"""Scale and offset: -1 to 1."""
CAFFE: Final = (1.0, [-103.939, -116.779, -123.68])
"""Less ImageNet's means, blue first."""
MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
TORCH: Final = (
    [1 / (255 * deviation) for deviation in DEVIATION],
    [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)],
)
"""Less ImageNet's means, by its deviations."""
EFFICIENTNET: Final = (
    [deviation**-0.5 for deviation in DEVIATION],
    [255 * mean * (1 - deviation**-0.5) for mean, deviation in zip(MEAN, DEVIATION, strict=True)],
)
"""Keras's EfficientNet divides by the root of the deviation where its weights expect the deviation itself, and mends it
with a layer behind, which is there only where Keras fetches the weights. This does the same before."""
EFFICIENTNET_V2: Final = (1 / 128, -1.0)


def _applied(build: Callable[..., keras.Model], x: keras.KerasTensor, **more: Any) -> keras.KerasTensor:
    """The last maps of one of keras.applications on a tensor."""
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
"""Scale and offset of the pixels, and what makes the last maps of a tensor."""


def with_mean(shape: tuple[int, int, int], classes: int, seed: int = 0, *, backbone: str) -> keras.Model:
    """A backbone, the mean of each of its maps, and the scores.

    Args:
        shape: (height, width, 1 or 3) of one preprocessed image; grey is repeated.
        classes: how many probabilities come out.
        seed: of the scores' initial weights; the backbone's follow `keras.utils.set_random_seed`.
        backbone: a name in `BACKBONES`.

    Returns:
        Model from (n, height, width, channels), values 0..255 of any number type, to float32 (n, classes).
    """
    inputs, maps = _maps(shape, backbone)
    x = layers.GlobalAveragePooling2D(name=FEATURES)(maps)
    return keras.Model(inputs, head(x, classes, seed), name=backbone)


def harrisburg_vgg19(shape: tuple[int, int, int], classes: int, seed: int = 0) -> keras.Model:
    """VGG19, the maximum of each of its maps, a dense layer of 128: 20,090,306 parameters with two classes.

    65,922 of them are trained where the backbone is frozen. See `with_mean` for the arguments.
    """
    inputs, maps = _maps(shape, "vgg19")
    x = layers.GlobalMaxPooling2D(name=FEATURES)(maps)
    initial = keras.initializers.GlorotUniform(seed=seed + 1)
    x = layers.Dense(128, activation="relu", kernel_initializer=initial, name="dense")(x)
    return keras.Model(inputs, head(x, classes, seed), name="harrisburg_vgg19")


def backbone_of(model: keras.Model) -> keras.Model:
    """The part of a network up to its backbone's maps; it shares its layers with the whole.

    Raises:
        ValueError: the network has no layer that ends a backbone.
    """
    if FEATURES not in [layer.name for layer in model.layers]:
        raise ValueError(f"{model.name} has no backbone: no layer is called {FEATURES!r}")
    return keras.Model(model.input, model.get_layer(FEATURES).input, name=f"{model.name}_backbone")


def freeze(model: keras.Model, trained: float) -> None:
    """Let a share of the backbone's layers with weights be trained, counted from its end; the rest stays as it is.

    A frozen batch normalisation uses the means and variances that it has and no longer learns them.

    Args:
        model: a network that ends in a backbone, or holds one; to be compiled afterwards.
        trained: 0 freezes the backbone, 1 freezes nothing.

    Raises:
        ValueError: the network has no backbone.
    """
    with_weights = [layer for layer in backbone_of(model).layers if layer.weights]
    frozen = round(len(with_weights) * (1 - trained))
    for place, layer in enumerate(with_weights):
        layer.trainable = place >= frozen


def _maps(shape: tuple[int, int, int], backbone: str) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The pixels, and the last maps of a backbone on them."""
    (scale, offset), build = BACKBONES[backbone]
    inputs = keras.Input(shape, name="pixels")
    x = inputs if shape[-1] == COLOURS else layers.Concatenate(name="three_channels")([inputs] * COLOURS)
    x = layers.Rescaling(scale, offset=offset, name="as_the_weights_expect")(x)
    return inputs, build(x)


BACKBONE_NETWORKS: Final[dict[str, Callable[[tuple[int, int, int], int, int], keras.Model]]] = {
    **{name: partial(with_mean, backbone=name) for name in BACKBONES},
    "harrisburg_vgg19": harrisburg_vgg19,
}
"""By architecture's name."""
