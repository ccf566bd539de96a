"""The command that explains one image: what a model answers, and where it looked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.files import require_writable, write_private
from flows.commands.session import connected

if TYPE_CHECKING:
    import sqlalchemy as sa

    from infra.settings import Settings
    from tasks.explain.explanation import Explanation
    from tasks.registry.model_versions import ModelVersion

LONGEST_S = 600.0
FORMS = (".html", ".png")


def explain(
    key: Annotated[str, typer.Argument(help="An object's key, an image's id, or a file of this machine.")],
    version: Annotated[str | None, typer.Option(help="A model version; the champion if not given.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="A class to explain beside the predicted one; once for each.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write to this .html or .png; explanation-ID.html here if not given.")
    ] = None,
) -> None:
    """Say what a model answers to one image, and show where it looked (Grad-CAM).

    The image is read, checked and preprocessed as a night does it; what a night would quarantine gets no answer. The
    page shows the radiograph as the model sees it, the heat map beside it, the probabilities, and whether the nights
    have published the same. It is patient data, as the image is. A heat map says where a score came from: it is
    coarse, and no proof of anything. Exits with 1 where there is nothing to explain.

    Examples: `cxr explain 1234`, `cxr explain incoming/a.png --class NORMAL`, `cxr explain scan.png --save scan.html`
    """
    from tasks.explain import explanation

    if save and save.suffix.lower() not in FORMS:
        raise typer.BadParameter("give a name that ends in .html or .png", param_hint="--save")
    if save:
        require_writable(save)
    with connected() as (settings, pool):
        found = explained(settings, pool, key, version, classes or [])
    for line in explanation.lines(found):
        typer.echo(line)
    target = save or Path(f"explanation-{found.subject.name.replace(' ', '-')}.html")
    as_picture = target.suffix.lower() == ".png"
    write_private(target, explanation.picture(found) if as_picture else explanation.page(found).encode())
    typer.echo(f"written to {target}: it shows a radiograph, handle it as patient data")
    typer.echo("Research use, not for diagnosis.")


def explained(settings: Settings, pool: sa.Engine, key: str, version: str | None, classes: list[str]) -> Explanation:
    """Bring an image, let the model answer it, and look up what was published of it."""
    from infra.storage import Store
    from models.radiographs.radiograph import Limits
    from tasks.explain import subject as explaining
    from tasks.explain.explanation import Explanation

    model, reigns = _chosen(pool, version)
    for name in classes:
        if name not in model.classes:
            raise typer.BadParameter(f"{name}: choose from {', '.join(model.classes)}", param_hint="--class")
    store = Store(settings)
    limits = Limits(settings.max_bytes, settings.max_pixels)
    image = explaining.read_named_image(pool, store, settings, key, model.preprocessing)
    typer.echo("checking the image, then asking the model: half a minute on a slow machine", err=True)
    subject = explaining.validate_image(image, limits)
    asked = [model.classes.index(name) for name in dict.fromkeys(classes)]
    answers = explaining.answer_images(
        store, settings.cache, model, subject.pixels[None], [(0, None), *((0, place) for place in asked)], LONGEST_S
    )
    probabilities = dict(zip(model.classes, map(float, answers.probabilities[0]), strict=True))
    ordered = dict(sorted(probabilities.items(), key=lambda one: -one[1]))
    shown = [next(iter(ordered)), *(model.classes[place] for place in asked)]
    return Explanation(
        subject=subject,
        model=model,
        champion=reigns,
        probabilities=ordered,
        runtime=answers.runtime,
        heat=dict(zip(shown, answers.heatmaps, strict=False)),  # none where the network cannot be explained
        unexplained="; ".join(answers.notes) or None,
        published=explaining.published_prediction(pool, subject.content),
    )


def _chosen(pool: sa.Engine, version: str | None) -> tuple[ModelVersion, bool]:
    """Return the model that answers, and whether it is the champion."""
    from tasks.registry import model_versions

    if version is None:
        return model_versions.champion(pool), True
    model = model_versions.require(pool, version)
    try:
        return model, model_versions.champion(pool).model_version == model.model_version
    except model_versions.NoChampionError:
        return model, False
