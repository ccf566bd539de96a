"""Explanation: a model's answer for one image and where it looked, as lines, a page or a picture.

Nothing here holds an object key or a patient's identity, but the page and the picture show a radiograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from models.plots import pictures
from models.vocabulary import NORMAL
from tasks.pages import model_figures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tasks.explain.subject import PublishedPrediction, Subject
    from tasks.registry.model_versions import ModelVersion

AGREES_WITHIN: Final = 0.02
"""Largest difference between equal probabilities of one model: a night may use another runtime than Keras."""
LOWEST_SHOWN: Final = 0.001
HIGHEST_SHOWN: Final = 0.999
PICTURE_SIDE: Final = 448
BAR_WIDTH: Final = 24
HEAT_MAP_CAVEAT: Final = (
    "A heat map (Grad-CAM, Selvaraju et al., ICCV 2017) shows where in the image the score for a class came from: the "
    "warmer, the more. It is coarse, each map is scaled to its own maximum, and it proves nothing: heat does not "
    "outline a finding, and a plausible map does not mean that the model is right (Adebayo et al., NeurIPS 2018, "
    "Sanity Checks for Saliency Maps). Heat outside the lungs is a warning."
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A model's answer for one image."""

    subject: Subject
    model: ModelVersion
    champion: bool
    """Whether the model is the current champion."""
    probabilities: Mapping[str, float]
    """By class, highest first."""
    runtime: str
    heat: Mapping[str, NDArray[Any]]
    """(height, width), 0 to 1, by class, the predicted one first; empty if the network cannot be explained."""
    unexplained: str | None
    """Why there are no heat maps, if there are none."""
    published: PublishedPrediction | None
    """The newest published prediction for this content, if any."""

    @property
    def predicted(self) -> str:
        """The class with the highest probability."""
        return next(iter(self.probabilities))


def probability(value: float) -> str:
    """Return a probability as text; never 1.000 or 0.000, but > 0.999 and < 0.001."""
    if value > HIGHEST_SHOWN:
        return f"> {HIGHEST_SHOWN}"
    return f"{value:.3f}" if value >= LOWEST_SHOWN else f"< {LOWEST_SHOWN}"


def warning(explanation: Explanation) -> str | None:
    """Return the warning for the top of the page if made data is involved."""
    if explanation.model.made_data and not explanation.subject.made:
        return "This model was trained on made data (phantoms): its answer for a real radiograph means nothing."
    if explanation.model.made_data or explanation.subject.made:
        both = ", and the model learned from phantoms" if explanation.model.made_data else ""
        return f"Made data: the image is a phantom{both}. Nothing here is about a patient."
    return None


def agreement(explanation: Explanation) -> tuple[bool | None, str]:
    """Compare the answer with the published prediction for the same content.

    Returns:
        Whether both predict the same class (None if nothing was published), and a sentence.
    """
    published = explanation.published
    if published is None:
        return None, "No night has published a prediction for this content."
    words = (
        f"The night of {published.night:%-d %B %Y} published {published.predicted} {probability(published.probability)}"
    )
    same = published.model_version == explanation.model.model_version
    words += f", by {'the same model' if same else published.model_version} ({published.runtime})"
    if published.predicted != explanation.predicted:
        why = " The models differ." if not same else " The same model should give the same answer: see `cxr doctor`."
        return False, f"{words}: this answer DISAGREES.{why}"
    apart = abs(explanation.probabilities[published.predicted] - published.probability)
    if same and apart > AGREES_WITHIN:
        return True, f"{words}: the class agrees, the probability differs by {apart:.3f}."
    return True, f"{words}: this answer agrees."


def lines(explanation: Explanation) -> list[str]:
    """Return the lines for the terminal."""
    longest = max(map(len, explanation.probabilities))
    rows = [
        f"  {name:{longest}}  {probability(value):>7}  {'█' * round(BAR_WIDTH * value)}".rstrip()
        for name, value in explanation.probabilities.items()
    ]
    role = "champion" if explanation.champion else "not the champion"
    name, description = explanation.subject.name, explanation.subject.description
    top = [name if name == description else f"{name}, read from {description}"]
    top += [f"WARNING: {words}"] if (words := warning(explanation)) else []
    below = [
        f"model {explanation.model.model_version} ({role}), answered with {explanation.runtime}",
        agreement(explanation)[1],
    ]
    below += [f"no heat map: {explanation.unexplained}"] if explanation.unexplained else []
    return [*top, *rows, *below]


def page(explanation: Explanation) -> str:
    """Return the self-contained HTML page."""
    names = list(explanation.probabilities)
    findings = [name for name in explanation.model.classes if name != NORMAL]
    agrees, sentence = agreement(explanation)
    height, width = explanation.subject.pixels.shape[:2]
    environment = model_figures.environment()
    environment.filters["probability"] = probability
    return environment.get_template("explanation.html").render(
        explanation=explanation,
        names=names,
        colours={name: findings.index(name) % 4 if name in findings else "normal" for name in names},
        warning=warning(explanation),
        agrees=agrees,
        sentence=sentence,
        seen=(width, height),
        photograph=pictures.radiograph_jpeg(explanation.subject.pixels, PICTURE_SIDE),
        maps=[
            (name, pictures.heat_overlay_jpeg(explanation.subject.pixels, heat, PICTURE_SIDE), bool(heat.any()))
            for name, heat in explanation.heat.items()
        ],
        HEAT_MAP_CAVEAT=HEAT_MAP_CAVEAT,
    )


def picture(explanation: Explanation) -> bytes:
    """Return the explanation as one PNG, for a slide or a case file."""
    from models.plots import explanation_picture
    from models.plots.pictures import with_heat_overlay

    grey = pictures.shrink_to_grey(explanation.subject.pixels, PICTURE_SIDE)
    panels = [("as the model sees it", grey)]
    for name, heat in explanation.heat.items():
        words = f"heat map for {name}" if heat.any() else f"{name}: no evidence for it"
        panels.append((words, with_heat_overlay(grey, heat)))
    notes = [
        f"{model_figures.RESEARCH} This picture shows a radiograph: handle it as patient data.",
        f"Model {explanation.model.model_version}. {agreement(explanation)[1]}",
        *([f"No heat map: {explanation.unexplained}."] if explanation.unexplained else [HEAT_MAP_CAVEAT]),
    ]
    bars = {name: (value, probability(value)) for name, value in explanation.probabilities.items()}
    predicted = explanation.predicted
    title = f"{explanation.subject.name}: {predicted} {probability(explanation.probabilities[predicted])}"
    return explanation_picture.draw_explanation(panels, bars, title, notes, warning(explanation))
