"""Commands about models and labels: train, promote, bring in ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.session import connected, import_training


def train(
    folder: Annotated[
        Path | None,
        typer.Argument(
            exists=True, file_okay=False, help="One sub-folder for each class; without it, the labels in the database."
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="What to train.")] = "compact-cnn",
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    budget: Annotated[float | None, typer.Option(help="Seconds after which no further epoch is begun.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Train a model version and register it; the very first one becomes champion.

    The images are split by patient (70 % train, 15 % validation, 15 % test). The artifact goes to the bucket under
    models/, its row to Postgres. Later versions are registered only: see `cxr promote`.

    Examples: `cxr train data/`, with `data/NORMAL/*.png`, `data/PNEUMONIA/*.png` ...; a data/labels.csv (file, label,
    patient_id) keeps a patient's images together. `cxr train` alone learns from the labels in the database.
    """
    from infra.storage import Store
    from models.radiograph import Limits
    from models.recipes import RECIPES

    import_training()
    from tasks import datasets, training

    if recipe not in RECIPES:
        raise typer.BadParameter(f"{recipe}: choose from {', '.join(RECIPES)}", param_hint="--recipe")
    chosen = RECIPES[recipe]
    with connected() as (settings, pool):
        store = Store(settings)
        spec, limits = chosen.preprocessing, Limits(settings.max_bytes, settings.max_pixels)
        if folder:
            data = datasets.from_folder(folder, spec, limits=limits)
        else:
            data = datasets.from_labels(pool, store, spec, limits=limits)
        typer.echo(f"{len(data.labels)} images of {len(set(data.patients))} patients, {', '.join(data.classes)}")
        outcome = training.train_and_register(
            pool, store, chosen, data, seed=seed, epochs=epochs, budget_s=budget, say=typer.echo
        )
    typer.echo(outcome)
    if not outcome.first:
        typer.echo(f"The champion stays. To change that: cxr promote {outcome.model_version} --reason '...'")


def promote(
    model_version: Annotated[str, typer.Argument(help="As `cxr train` printed it.")],
    reason: Annotated[str, typer.Option(help="Kept in the promotions table.")],
) -> None:
    """Make a registered model version the champion, on your word.

    Example: `cxr promote compact-cnn-20260131T021500Z-1f3a9c02 --reason 'better recall on the March review'`
    """
    from tasks import registry

    with connected() as (_, pool):
        registry.promote(pool, model_version, reason)
    typer.echo(f"{model_version} is champion; the next night scores with it")


def label(
    sheet: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV with object_key, class, patient_id.")],
    source: Annotated[str, typer.Option(help="Who says so: a reader, a report system, a study.")],
    new_class: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Take this class too, though no champion knows it yet; once for each."),
    ] = None,
) -> None:
    """Bring ground truth for scored images into the database.

    Labels are kept by image content, so they outlive a copied or moved object. A source's newer label replaces its
    older one.

    A sheet with a class that is unknown is refused as a whole, since a typo would be a class of the next model. Known
    are COVID-19, NORMAL and PNEUMONIA, or the champion's classes where it has others; a site with further classes
    names them with `--new-class`.

    Examples: `cxr label march.csv --source 'radiology review 2026-03'`, and
    `cxr label march.csv --source 'chest clinic' --new-class TUBERCULOSIS`
    """
    from tasks import labels

    with connected() as (settings, pool):
        typer.echo(labels.add(pool, settings.bucket, sheet, source, new_class or ()))
