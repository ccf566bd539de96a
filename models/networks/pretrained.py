"""What a backbone learned from ImageNet: files fetched once, or lying in a folder, and put into a network's layers.

The files of keras.applications are fetched from where Keras fetches them and held against the checksums that Keras
holds them against. Those of ResNet-18 and ResNet-34 are torchvision's, as timm publishes them on Hugging Face without
one: half a download is found out when it is read, and removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from safetensors import SafetensorError
from safetensors.numpy import load_file

from models.files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    import keras

APPLICATIONS: Final = "https://storage.googleapis.com/tensorflow/keras-applications"
TIMM: Final = "https://huggingface.co/timm"
NO_TOP: Final = "weights_tf_dim_ordering_tf_kernels_notop.h5"


class PretrainedError(RuntimeError):
    """A backbone's weights cannot be had or do not fit; the message names the model, the file and the settings."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a backbone's weights come from."""

    file: str
    """Its name in CXR_PRETRAINED_DIR."""
    url: str
    md5: str | None = None
    """None: the publisher names none."""


def _keras(folder: str, name: str, md5: str) -> Source:
    file = f"{name}_{NO_TOP}"
    return Source(file, f"{APPLICATIONS}/{folder}/{file}", md5)


SOURCES: Final = {
    "xception": _keras("xception", "xception", "b0042744bf5b25fce3cb969f33bebb97"),
    "vgg16": _keras("vgg16", "vgg16", "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": (_vgg19 := _keras("vgg19", "vgg19", "253f8cb515780f3b799900260a226db6")),
    "harrisburg_vgg19": _vgg19,
    "resnet50": _keras("resnet", "resnet50", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": _keras("resnet", "resnet101", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet101v2": _keras("resnet", "resnet101v2", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "inceptionv3": _keras("inception_v3", "inception_v3", "bcbd6486424b2319ff4ef7d526e38f63"),
    "inceptionresnetv2": _keras("inception_resnet_v2", "inception_resnet_v2", "d19885ff4a710c122648d3b5c3b684e4"),
    "efficientnetb0": Source(
        "efficientnetb0_notop.h5",
        "https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
        "50bc09e76180e00e4465e1a485ddc09d",
    ),
    "efficientnetv2s": Source(
        "efficientnetv2-s_notop.h5",
        f"{APPLICATIONS}/efficientnet_v2/efficientnetv2-s_notop.h5",
        "af0682fb74e8c54910f2d4393339c070",
    ),
    "efficientnetv2m": Source(
        "efficientnetv2-m_notop.h5",
        f"{APPLICATIONS}/efficientnet_v2/efficientnetv2-m_notop.h5",
        "1b8dc055df72dde80d614482840fe342",
    ),
    "resnet18": Source("resnet18.tv_in1k.safetensors", f"{TIMM}/resnet18.tv_in1k/resolve/main/model.safetensors"),
    "resnet34": Source("resnet34.tv_in1k.safetensors", f"{TIMM}/resnet34.tv_in1k/resolve/main/model.safetensors"),
}
"""By architecture's name."""


def load(model: keras.Model, architecture: str, folder: Path | None) -> dict[str, str]:
    """Put ImageNet's weights into a network's backbone.

    Args:
        model: built by `models.networks.architectures.build`.
        architecture: its name.
        folder: CXR_PRETRAINED_DIR: the file lies there; None: it is fetched, once for each user.

    Returns:
        What was read: `file` and its `sha256`.

    Raises:
        PretrainedError: there are none for this architecture, the file cannot be had, or it does not fit.
    """
    from models.networks.backbones import backbone_of
    from models.networks.resnet import load_torch_weights

    if architecture not in SOURCES:
        raise PretrainedError(f"there are no ImageNet weights for {architecture}; known: {', '.join(sorted(SOURCES))}")
    source = SOURCES[architecture]
    path = _found(architecture, source, folder) if folder else _fetched(architecture, source)
    backbone = backbone_of(model)
    try:
        if path.suffix == ".safetensors":
            load_torch_weights(backbone, load_file(path))
        else:
            backbone.load_weights(path)
    except (ValueError, KeyError, TypeError, OSError, SafetensorError) as error:  # TypeError: numbers unknown to NumPy
        anew = "fetch the file anew"
        if folder is None:  # else Keras would find it again, for ever
            path.unlink(missing_ok=True)
            anew = "what was fetched is removed, and the next training fetches it anew: start it again"
        raise PretrainedError(
            f"{architecture}: {source.file} does not hold its weights ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}): {anew}, or set CXR_PRETRAINED=none"
        ) from error
    return {"file": source.file, "sha256": sha256_of(path)}


def _found(architecture: str, source: Source, folder: Path) -> Path:
    path = folder / source.file
    if not path.is_file():
        raise PretrainedError(
            f"{architecture}: CXR_PRETRAINED_DIR holds no {source.file}: put the file from {source.url} there under "
            "that name, or set CXR_PRETRAINED=none to train without learned weights"
        )
    return path


def _fetched(architecture: str, source: Source) -> Path:
    from pathlib import Path

    import keras

    try:
        return Path(keras.utils.get_file(source.file, source.url, cache_subdir="models", file_hash=source.md5))
    except Exception as error:  # Keras raises a bare Exception where an address cannot be reached
        raise PretrainedError(
            f"{architecture}: {source.file} could not be fetched from {source.url} "
            f"({' '.join(str(error).split())[-120:]}): on a machine without the internet put the file into a folder "
            "and name it in CXR_PRETRAINED_DIR, or set CXR_PRETRAINED=none to train without learned weights"
        ) from error
