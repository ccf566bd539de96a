"""Commands about models: train challengers, compare them with the champion, and read a model card."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.session import connected, require_services
from infra.settings import Settings

Save = Annotated[str | None, typer.Option(help="Write the HTML page to this file instead of printing a link.")]


def retrain(
    recipe: Annotated[
        list[str] | None, typer.Option(help="Train this recipe instead of CXR_RECIPES; repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train, compare, decide and report, but promote nothing.")
    ] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Number of epochs; the recipe's own if not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of initial weights, order and augmentation.")] = 0,
) -> None:
    """Train challengers on the labels in the database; promote one only if its test metrics win.

    The labelled images are split by patient; an image in the test set is never trained on. Champion and
    challengers are scored on the same test set, and the gate decides (docs/gate.md). A first champion must pass fixed
    floors instead of a comparison. With CXR_PROMOTION=approval, or if a result looks too good to be true, the run waits
    in the Prefect UI for a person to decide. Safe to run again: a killed training continues after its last epoch, and
    the same data are not judged twice. Exits with 1 if it failed.

    Examples: `cxr labels import labelled/ --source ward-3`, then `cxr retrain`; `cxr retrain --dry-run --epochs 2`
    """
    from models.recipes.catalogue import RECIPES

    for name in recipe or ():
        if name not in RECIPES:
            raise typer.BadParameter(f"{name}: choose from {', '.join(RECIPES)}", param_hint="--recipe")
    require_services(Settings.load())
    from flows.retraining import retrain_and_compare

    state = retrain_and_compare(
        recipes=recipe or None, cause="by hand", dry_run=dry_run, epochs=epochs, seed=seed, return_state=True
    )
    typer.echo(f"{state.name}: {state.message}")
    if not state.is_completed():
        raise typer.Exit(1)


def card(
    version: Annotated[str | None, typer.Argument(help="A model version; the champion if not given.")] = None,
    save: Save = None,
) -> None:
    """Print a link to a model version's card, or save it: what the model learned from, how good it is, its limits.

    The link works without a login for an hour.
    """
    from flows.commands.night import hand_over
    from infra.storage import Store
    from tasks.registry import model_versions
    from tasks.retraining import model_card

    with connected() as (settings, pool):
        name = (
            model_versions.require(pool, version).model_version
            if version
            else model_versions.champion(pool).model_version
        )
    store, key = Store(settings), model_card.key(name)
    if not any(one.key == key for page in store.list(key) for one in page):
        raise model_versions.RegistryError(
            f"{name} has no card: a retraining that is not a dry run writes the cards after its decision, and none has "
            "compared this model yet"
        )
    hand_over(store, key, save)
