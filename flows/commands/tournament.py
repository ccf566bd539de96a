"""Commands that compare recipes: a tournament of several, and the cross-validation of one."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.files import require_writable
from flows.commands.session import prepare_prefect, require_services
from infra.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = "tournament.html"


def tournament(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            exists=True,
            file_okay=False,
            help="One sub-folder for each class, and optionally a labels.csv. Several folders: one table each, "
            "and one across them. None: the labels in the database.",
        ),
    ] = None,
    recipe: Annotated[
        list[str] | None, typer.Option(help="A recipe that takes part; repeatable. CXR_RECIPES if not given.")
    ] = None,
    folds: Annotated[
        int, typer.Option(min=0, help="Folds of a cross-validation by patient, at least 2; 0 for a single split.")
    ] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Upper limit on each recipe's epochs.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="Time limit for each training; no epoch starts that would not end within it."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds and the trainings.")] = 0,
    hand_over: Annotated[
        bool, typer.Option("--hand-over", help="Let the winner challenge the champion, as `cxr retrain` does.")
    ] = False,
    save: Annotated[
        str | None, typer.Option(help=f"Write the report to this file. For folders: {PAGE} if not given.")
    ] = None,
) -> None:
    """Train several recipes on the same images, rank them, and say which differences are real.

    All are tested on patients that none of them saw, and compared with simple models that see only the file, only the
    border, or only outlines. Safe to run again: finished trainings are not repeated. On the labels in the database the
    frozen test set is not used: it is reserved for the gate. `cxr recipes` lists the recipes. Exits with 1 on failure.

    Examples: `cxr tournament data/ --recipe local-patterns --recipe carson-final --minutes 20`, `cxr tournament
    ward-3/ ward-7/ --recipe karcevski-simple --recipe karcevski-complex`, `cxr tournament --folds 5 --hand-over`
    """
    _require_known(recipe or ())
    if folds == 1:
        raise typer.BadParameter("at least 2, or 0 for one split", param_hint="--folds")
    if folders:
        save = save or PAGE
    if save:
        require_writable(Path(save))
    settings = Settings.load()
    if folders:
        prepare_prefect(settings)
    else:
        require_services(settings)
    from flows.tournament import tournament as run_tournament

    with _resumable():
        state = run_tournament(
            recipes=recipe or None, folders=[str(one.resolve()) for one in folders] if folders else None, folds=folds,
            epochs=epochs, minutes=minutes, seed=seed, hand_over=hand_over, save=save, return_state=True,
        )  # fmt: skip
    typer.echo(f"{state.name}: {state.message}")
    if not state.is_completed():
        raise typer.Exit(1)


def crossvalidate(
    folder: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, help="One sub-folder for each class, and optionally a labels.csv."
        ),
    ],
    recipe: Annotated[str | None, typer.Option(help="The default recipe if not given.")] = None,
    folds: Annotated[int, typer.Option(min=2)] = 5,
    epochs: Annotated[int | None, typer.Option(min=1, help="Upper limit on the recipe's epochs.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds and the trainings.")] = 0,
    baselines: Annotated[bool, typer.Option(help="Run simple models on the same folds too.")] = True,
) -> None:
    """Say how good a recipe is on a folder of labelled images: pooled out-of-fold figures, by patient.

    Each image is scored by a model that never saw its patient. Nothing is registered, and no service is needed. The
    recipe is compared with a linear model on oriented gradients (HOG), one that sees only the file's size and format,
    and one that sees only the image's border: a recipe that is no better than these has learned a shortcut. Safe to run
    again: finished folds are not trained again.

    Example: `cxr crossvalidate data/`, with `data/NORMAL/*.png`, `data/PNEUMONIA/*.png` ...; a data/labels.csv (file,
    label, patient_id) keeps a patient's images together.
    """
    from models.radiographs.radiograph import Limits
    from models.recipes.catalogue import DEFAULT_RECIPE, recipe_named

    _require_known([recipe] if recipe else ())
    from infra.version import code_version
    from tasks.tournament import crossvalidation
    from tasks.tournament.fold_training import TrainingTerms

    settings = Settings.load()
    with _resumable():
        found = crossvalidation.cross_validate(
            folder, recipe_named(recipe or DEFAULT_RECIPE, settings.pretrained),
            Limits(settings.max_bytes, settings.max_pixels), settings.cache,
            TrainingTerms(folds, seed, epochs, None, code_version(), settings.pretrained_dir),
            with_baselines=baselines, say=typer.echo,
        )  # fmt: skip
    typer.echo(found)


@contextmanager
def _resumable() -> Iterator[None]:
    """After Ctrl-C, say that the finished trainings are kept."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Interrupted: finished trainings are kept, and the same command continues from there.", err=True)
        raise


def _require_known(names: list[str] | tuple[str, ...]) -> None:
    from models.recipes.catalogue import RECIPES

    for name in names:
        if name not in RECIPES:
            raise typer.BadParameter(f"{name}: choose from {', '.join(RECIPES)}", param_hint="--recipe")
