"""The command that explains one image: what a model predicts, and where it looked."""

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
    key: Annotated[str, typer.Argument(help="An object's key, an image's id, or a file on this machine.")],
    version: Annotated[str | None, typer.Option(help="A model version; the champion if not given.")] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="A class to explain in addition to the predicted one; repeatable."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write to this .html or .png; explanation-ID.html here if not given.")
    ] = None,
) -> None:
    """Say what a model predicts for one image, and show where it looked (Grad-CAM).

    The image is read, checked and preprocessed as in a night; an image that a night would quarantine gets no
    prediction. The page shows the radiograph as the model sees it, the heat map next to it, the probabilities, and
    whether a night published the same prediction. Like the image, it is patient data. A heat map says where a score
    came from: it is coarse and proves nothing. Exits with 1 if there is nothing to explain.

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
    """Read an image, run the model on it, and look up its published prediction."""
    from infra.storage import Store
    from models.radiographs.radiograph import Limits
    from tasks.explain import subject as explained_image
    from tasks.explain.explanation import Explanation

    model, is_champion = _chosen(pool, version)
    for name in classes:
        if name not in model.classes:
            raise typer.BadParameter(f"{name}: choose from {', '.join(model.classes)}", param_hint="--class")
    store = Store(settings)
    limits = Limits(settings.max_bytes, settings.max_pixels)
    image = explained_image.read_named_image(pool, store, settings, key, model.preprocessing)
    typer.echo("checking the image, then running the model: up to half a minute on a slow machine", err=True)
    subject = explained_image.validate_image(image, limits)
    asked = [model.classes.index(name) for name in dict.fromkeys(classes)]
    answers = explained_image.answer_images(
        store, settings.cache, model, subject.pixels[None], [(0, None), *((0, place) for place in asked)], LONGEST_S
    )
    probabilities = dict(zip(model.classes, map(float, answers.probabilities[0]), strict=True))
    ordered = dict(sorted(probabilities.items(), key=lambda one: -one[1]))
    shown = [next(iter(ordered)), *(model.classes[place] for place in asked)]
    return Explanation(
        subject=subject,
        model=model,
        champion=is_champion,
        probabilities=ordered,
        runtime=answers.runtime,
        heat=dict(zip(shown, answers.heatmaps, strict=False)),  # empty if the network cannot be explained
        unexplained="; ".join(answers.notes) or None,
        published=explained_image.published_prediction(pool, subject.content),
    )


def _chosen(pool: sa.Engine, version: str | None) -> tuple[ModelVersion, bool]:
    """Return the chosen model version, and whether it is the champion."""
    from tasks.registry import model_versions

    if version is None:
        return model_versions.champion(pool), True
    model = model_versions.require(pool, version)
    try:
        return model, model_versions.champion(pool).model_version == model.model_version
    except model_versions.NoChampionError:
        return model, False
