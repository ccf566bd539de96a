"""The systems of five student reports on chest X-rays as recipes, each with the figures that its report published.

Reports and recipes are named after the authors or their places. What a report leaves open was chosen here:
`departures` lists these choices and other differences, `COMMON_DEPARTURES` those that all recipes share.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from models.radiographs.preprocessing import PreprocessingSpec
from models.recipes.recipe import Augmentation, Plateau, Recipe, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.radiographs.preprocessing import Crop, Equalisation
    from models.recipes.recipe import View


@dataclass(frozen=True, slots=True)
class PublishedSystem:
    """A recipe, the figures that its report published, and how the recipe departs from the report."""

    recipe: Recipe
    report: str
    """A key of `REPORT_SUMMARIES`."""
    classes: int
    """Number of classes in the report; here the labels determine the classes."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """As published, as fractions of one."""
    parameters: int | None = None
    """As published, with this number of classes."""
    trainable: int | None = None
    departures: tuple[str, ...] = ()
    """Differences from the report and choices that it leaves open, in addition to `COMMON_DEPARTURES`."""


REPORT_SUMMARIES: Final = {
    "coronahack": "2 classes (pneumonia, normal); 5,286 training images (3,944 and 1,342) and 624 test images (390 and "
    "234); pretrained networks fine-tuned for 100 epochs",
    "carson": "2 classes; frontal images (PA), the centre of the chest; a network that failed (it predicted the "
    "classes' shares) and the final one",
    "harrisburg": "2 classes; 70:30 split; local histogram equalisation",
    "covientist": "3 classes (576 COVID-19, 1,583 normal, 4,273 pneumonia); 80/10/10 stratified (5,144, 643 and 645 "
    "images)",
    "karcevski": "each network on two data sets: which network varies least between them?",
}
"""Summary of each report."""
COMMON_DEPARTURES: Final = (
    "grey values are stretched between each image's 0.5th and 99.5th percentile, as for all recipes here",
    "images are cropped to the input's aspect ratio instead of squeezed into it, unless stated otherwise",
    "augmentation does not flip images: the side of the heart is anatomy",
    "all images of a patient are in the same split",
    "the weights with the lowest validation loss are kept, and a temperature is fitted on the validation images",
    "the labels determine the classes, however many the report had",
)
UNKNOWN_SIZE: Final = "the input size is not known: 224x224 for all of its networks"
UNKNOWN_BATCH: Final = "the batch size is not known: {}"


def _square(side: int, channels: int, crop: Crop = "centre", equalisation: Equalisation = "none") -> PreprocessingSpec:
    return PreprocessingSpec(side, side, channels, crop=crop, equalisation=equalisation)


NO_AUGMENTATION: Final = Augmentation(share=0.0, translation=0.0, rotation=0.0, zoom=0.0, brightness=0.0)


def _recipe(name: str, architecture: str, spec: PreprocessingSpec, augmentation: Augmentation, epochs: int) -> Recipe:
    """A recipe with the values that the reports have in common; callers replace the others."""
    return Recipe(
        name, architecture, spec, augmentation, epochs, batch_size=32, weight_decay=0.0, class_weights=False,
        patience=epochs, optimizer="adam", schedule="constant",
    )  # fmt: skip


CORONAHACK_CHOICES: Final = (
    UNKNOWN_SIZE,
    UNKNOWN_BATCH.format(16),
    "the strength of the augmentation is not known: zoom, brightness and shifts of up to 0.1",
    "the layers after the backbone are not known: global average pooling, then the class scores",
)


def _coronahack(name: str, accuracy: float, **more: float) -> PublishedSystem:
    augmentation = Augmentation(share=1.0, translation=0.1, rotation=0.0, zoom=0.1, brightness=0.1)
    base = _recipe(f"coronahack-{name}", name, _square(224, 3), augmentation, 100)
    recipe = replace(base, batch_size=16, learning_rate=1e-4, optimizer="adamax", weights="imagenet")
    return PublishedSystem(recipe, "coronahack", 2, {"accuracy": accuracy, **more}, departures=CORONAHACK_CHOICES)


_coronahack_cnn = _coronahack("cnn", 0.9343)
CORONAHACK: Final = (
    _coronahack("xception", 0.9135),
    _coronahack("vgg16", 0.9183),
    _coronahack("vgg19", 0.9455, f1=0.9447, recall=0.9455, precision=0.9482, auc=0.9299),
    _coronahack("resnet101v2", 0.9054),
    _coronahack("inceptionv3", 0.9151),
    _coronahack("inceptionresnetv2", 0.9247),
    _coronahack("efficientnetv2s", 0.9071),
    _coronahack("efficientnetv2m", 0.9231),
    replace(
        _coronahack_cnn,
        recipe=replace(_coronahack_cnn.recipe, architecture="coronahack_cnn", weights="none"),
        departures=(
            *CORONAHACK_CHOICES[:3],
            "the self-defined network is not described: its layers are our choice",
            "it has four convolutions of 32 to 256 filters with batch normalisation and pooling, and 256 dense units",
        ),
    ),
)

CARSON_CHOICES: Final = (
    "one sigmoid unit where there are two classes; with more classes, one score for each class and more parameters",
    "the report's optimiser, learning rate, epochs and batch size are not known: Adam at 0.001, batches of 32",
)
FRONTAL_VIEWS: Final[tuple[View, ...]] = ("PA",)
CARSON: Final = (
    PublishedSystem(
        _recipe("carson-simple", "carson_simple", _square(256, 3), NO_AUGMENTATION, 20), "carson", 2,
        departures=(*CARSON_CHOICES, "3x3 convolutions without padding, with ReLU: our choice; no figures are known"),
    ),
    PublishedSystem(
        replace(
            _recipe("carson-final", "carson_final", _square(256, 3, "chest"), Augmentation(), 30), views=FRONTAL_VIEWS
        ),
        "carson", 2, {"validation accuracy": 0.90, "accuracy": 0.71}, parameters=1_448_257, trainable=1_448_257,
        departures=(
            *CARSON_CHOICES,
            "published as more than 90 % in validation and about 70 to 72 % in the test set",
            "the centre of the chest is the central 80 % of the image's height and width; no network locates it",
            "the augmentation is not described: this project's default; dropout 0.5 is our choice, too",
            "images of unknown view are used for training, and the test set has every view: nights score every view",
        ),
    ),
)  # fmt: skip

HARRISBURG_AUGMENTATION: Final = Augmentation(
    share=1.0, translation=0.2, rotation=15 / 360, zoom=0.2, brightness=0.0, shear=0.2
)
HARRISBURG_CHOICES: Final = (
    "a shear of 0.2 is taken as a slope; the Keras generator of that time would have taken it as 0.2 degrees",
    "images are equalised after resizing, with a disk of 70 pixels at the input's size",
    "the batch size and the maximum number of epochs are not known: 32 and 50",
)
HARRISBURG: Final = (
    PublishedSystem(
        replace(
            _recipe(
                "harrisburg-cnn", "harrisburg_cnn", _square(299, 1, "centre", "local"), HARRISBURG_AUGMENTATION, 50
            ),
            learning_rate=0.008, patience=10,
        ),
        "harrisburg", 2, {"validation accuracy": 0.77}, parameters=18_129_890, trainable=18_129_442,
        departures=(
            *HARRISBURG_CHOICES,
            "Adam at 0.008, as in the report's code; its text says 0.001",
        ),
    ),
    PublishedSystem(
        replace(
            _recipe(
                "harrisburg-vgg19", "harrisburg_vgg19", _square(224, 3, "centre", "local"), HARRISBURG_AUGMENTATION, 50
            ),
            learning_rate=0.008, patience=10, weights="imagenet", stages=(Stage(0, 0.0, 0.008),),
        ),
        "harrisburg", 2, {"validation accuracy": 0.89}, parameters=20_090_306, trainable=65_922,
        departures=(
            *HARRISBURG_CHOICES,
            "the dense layer's activation is not known: ReLU",
            "with CXR_PRETRAINED=none nothing is frozen, and a rate of 0.008 is then far too high",
        ),
    ),
)  # fmt: skip

COVIENTIST_PLATEAU: Final = Plateau(factor=0.1, patience=5, lowest=1e-5)
COVIENTIST_CHOICES: Final = (
    UNKNOWN_BATCH.format(32),
    "SGD without momentum: the report mentions none",
    "the rate falls tenfold after 5 epochs without a better validation loss; only its first and last value are known",
)


def _covientist(name: str, backbone: str, accuracy: float) -> PublishedSystem:
    base = _recipe(f"covientist-{name}", backbone, _square(224, 3), NO_AUGMENTATION, 25)
    recipe = replace(
        base, optimizer="sgd", schedule="plateau", plateau=COVIENTIST_PLATEAU, learning_rate=1e-2, weights="imagenet",
        stages=(Stage(0, 0.0, 1e-2), Stage(5, 1.0, 1e-3)),
    )  # fmt: skip
    departures = (
        *COVIENTIST_CHOICES,
        "published with 5 to 25 epochs; 25 here",
        "the backbone is frozen in the first 5 epochs, then everything is trained at 0.001: our choice",
    )
    return PublishedSystem(recipe, "covientist", 3, {"accuracy": accuracy}, departures=departures)


COVIENTIST: Final = (
    PublishedSystem(
        replace(
            _recipe("covientist-cnn", "covientist_cnn", _square(224, 3), NO_AUGMENTATION, 100),
            optimizer="sgd", schedule="plateau", plateau=COVIENTIST_PLATEAU, learning_rate=1e-2,
        ),
        "covientist", 3, {"accuracy": 0.9674, "precision": 0.9654, "recall": 0.9579, "f1": 0.9611},
        departures=(*COVIENTIST_CHOICES, "the dense layer has 256 units; the text also says 128"),
    ),
    _covientist("vgg16", "vgg16", 0.927),
    _covientist("vgg19", "vgg19", 0.933),
    _covientist("resnet18", "resnet18", 0.950),
    _covientist("resnet34", "resnet34", 0.953),
    _covientist("resnet50", "resnet50", 0.922),
    _covientist("resnet101", "resnet101", 0.935),
    _covientist("inception", "inceptionv3", 0.966),
    _covientist("efficientnet", "efficientnetb0", 0.939),
)  # fmt: skip

KARCEVSKI_CHOICES: Final = (
    "the input size, filters and widths are not known: 128x128 grey, 32 to 128 filters of 3x3, 128 dense units",
    "the optimiser, rate, epochs and batch size are not known: Adam at 0.001, 20 epochs, batches of 32",
)


def _karcevski(name: str, first: float, second: float, augmentation: Augmentation = NO_AUGMENTATION) -> PublishedSystem:
    recipe = _recipe(f"karcevski-{name}", f"karcevski_{name}", _square(128, 1), augmentation, 20)
    figures = {"accuracy, first set": first, "accuracy, second set": second}
    return PublishedSystem(recipe, "karcevski", 2, figures, departures=KARCEVSKI_CHOICES)


_karcevski_augmented = _karcevski("augmented", 0.39, 0.25, Augmentation())
_karcevski_resnet50 = _karcevski("resnet50", 0.63, 0.57)
KARCEVSKI: Final = (
    _karcevski("simple", 0.50, 0.74),
    _karcevski("complex", 0.29, 0.96),
    replace(
        _karcevski_augmented,
        recipe=replace(_karcevski_augmented.recipe, patience=5),
        departures=(
            *KARCEVSKI_CHOICES,
            "augmentation and tuning are not known: this project's default augmentation on the complex network",
            "dropout 0.5, and training stops after 5 epochs without a better validation loss",
        ),
    ),
    replace(
        _karcevski_resnet50,
        recipe=replace(
            _karcevski_resnet50.recipe, architecture="resnet50", preprocessing=_square(224, 3), weights="imagenet",
            stages=(Stage(0, 0.0, 1e-3), Stage(5, 0.3, 1e-4)),
        ),
        departures=(
            "the input size and the initial weights are not known: 224x224x3 and ImageNet's",
            "the optimiser, rate, epochs and batch size are not known: Adam at 0.001, 20 epochs, batches of 32",
            "the backbone is frozen in the first 5 epochs; then the last 30 % of its layers are trained too, at 0.0001",
        ),
    ),
)  # fmt: skip

PUBLISHED_SYSTEMS: Final = (*CORONAHACK, *CARSON, *HARRISBURG, *COVIENTIST, *KARCEVSKI)
"""All systems of the five reports."""


def published_system(name: str) -> PublishedSystem | None:
    """Return the published system that a recipe follows; None where the recipe is this project's own."""
    return next((one for one in PUBLISHED_SYSTEMS if one.recipe.name == name), None)
