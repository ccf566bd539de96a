"""The command that lists the recipes: their input, size, initial weights and source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.recipes.recipe import Recipe

OWN = "this project"
HEADINGS = ("recipe", "input", "parameters", "weights", "source")


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show all details of this recipe.")] = None,
) -> None:
    """List the recipes, or show one recipe, its report's published figures, and what differs here.

    Parameter counts are the published ones; without one, they are counted with three classes. `imagenet` means that the
    backbone starts from ImageNet weights; see CXR_PRETRAINED and docs/recipes.md.

    Examples: `cxr recipes`, `cxr recipes carson-final`
    """
    from models.recipes.catalogue import RECIPES

    if name is not None and name not in RECIPES:
        raise typer.BadParameter(f"{name}: choose from {', '.join(RECIPES)}", param_hint="NAME")
    for line in described(RECIPES[name]) if name else table(list(RECIPES.values())):
        typer.echo(line)


def table(listed: list[Recipe]) -> list[str]:
    """Return the headings and a line for each recipe, in columns."""
    from models.recipes.catalogue import PARAMETER_COUNTS
    from models.recipes.student_reports import published_system

    rows = [HEADINGS]
    for recipe in listed:
        one = published_system(recipe.name)
        parameters = (one and one.parameters) or PARAMETER_COUNTS[recipe.name]
        source = f"{one.report} report" if one else OWN
        rows.append((recipe.name, _size(recipe), f"{parameters:,}", recipe.weights, source))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if heading == "parameters" else cell.ljust(width)
            for cell, width, heading in zip(row, widths, HEADINGS, strict=True)
        ).rstrip()
        for row in rows
    ]


def described(recipe: Recipe) -> list[str]:
    """Return all lines about one recipe."""
    from models.networks.pretrained import SOURCES
    from models.recipes.catalogue import DEFAULT_RECIPE, PARAMETER_COUNTS
    from models.recipes.student_reports import COMMON_DEPARTURES, REPORT_SUMMARIES, published_system

    spec, moved, one = recipe.preprocessing, recipe.augmentation, published_system(recipe.name)
    how = {
        "architecture": recipe.architecture,
        "input": f"{_size(recipe)}, grey values 0 to 255; crop {spec.crop}, equalisation {spec.equalisation}",
        "parameters": f"{PARAMETER_COUNTS[recipe.name]:,} with three classes",
        "weights": recipe.weights
        + (f", {SOURCES[recipe.architecture].file}" if recipe.weights == "imagenet" else ": trained from scratch"),
        "augmentation": _amounts(recipe) if moved.share or moved.brightness else "none",
        "optimiser": recipe.optimizer
        + f", learning rate {recipe.learning_rate:g}, {_schedule(recipe)}"
        + (f", weight decay {recipe.weight_decay:g}" if recipe.weight_decay else ""),
        "stages": "; ".join(
            f"from epoch {stage.epoch + 1} on {stage.backbone:.0%} of the backbone at {stage.learning_rate:g}"
            for stage in recipe.stages
        )
        or "none: all layers are trained from the start",
        "epochs": f"{recipe.epochs} at most, stopped after {recipe.patience} without a better validation loss; batches "
        f"of {recipe.batch_size}",
        "classes": "weighted equally" if recipe.class_weights else "weighted by their number of images",
        "views": f"learns from {', '.join(recipe.views)} and from unknown views" if recipe.views else "all",
    }
    lines = [f"{recipe.name}{' (the default)' if recipe.name == DEFAULT_RECIPE else ''}", ""]
    lines += [f"{what:13} {words}" for what, words in how.items()]
    if one is None:
        return [*lines, f"{'source':13} {OWN}"]
    figures = ", ".join(f"{what} {value:.4g}" for what, value in one.figures.items())
    lines += [f"{'source':13} the {one.report} report: {REPORT_SUMMARIES[one.report]}"]
    lines += [f"{'published':13} {figures or 'no figures'}, with {one.classes} classes"]
    if one.parameters:
        lines += [f"{'':13} {one.parameters:,} parameters, {one.trainable:,} of them trained"]
    said = [*one.departures, *COMMON_DEPARTURES]
    return [*lines, "", "Chosen here, or different from the report:", *(f"- {words}" for words in said)]


def _size(recipe: Recipe) -> str:
    spec = recipe.preprocessing
    return f"{spec.height}x{spec.width}x{spec.channels}"


def _amounts(recipe: Recipe) -> str:
    moved = recipe.augmentation
    parts = {
        "shift": moved.translation, "turn": moved.rotation, "zoom": moved.zoom, "shear": moved.shear,
        "brightness": moved.brightness,
    }  # fmt: skip
    told = ", ".join(f"{what} {value:.3g}" for what, value in parts.items() if value)
    return f"{told}; {moved.share:.0%} of the images{', by whole pixels' if moved.whole_pixels else ''}"


def _schedule(recipe: Recipe) -> str:
    fall = recipe.plateau
    return {
        "cosine": "falling along a cosine",
        "constant": "constant",
        "plateau": f"times {fall.factor:g} after {fall.patience} epochs without a better loss, to {fall.lowest:g}",
    }[recipe.schedule]
