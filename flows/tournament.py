"""The tournament flow: recipes trained on the same images and ranked; the winner challenges the champion on request.

Each recipe is a task of its own, so one that fails or is killed does not stop the others, and a repeated tournament
continues where it stopped. The frozen test set is not used: it is reserved for the gate, which the winner must pass.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed, Failed

from flows.artifacts import Progress, at_once
from flows.runs import Tournament
from flows.work import flow_run_id, step
from infra.settings import Settings, SettingsError
from infra.storage import StorageError
from infra.version import code_version
from models.errors import in_words
from models.radiographs.radiograph import Limits
from models.recipes.catalogue import RECIPES, recipe_named
from tasks.datasets import labelled_images
from tasks.pages import publishing
from tasks.pages.wording import counted
from tasks.tournament import baselines, fold_training, ranking
from tasks.tournament import report as tournament_report
from tasks.tournament.entries import check_folds, enter

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from prefect.client.schemas.objects import State

    from models.recipes.recipe import Recipe
    from tasks.tournament.entries import Entries
    from tasks.tournament.fold_training import FoldResult, TrainingTerms
    from tasks.tournament.ranking import Ranking

DATABASE = "labels in the database"


@flow(
    name="tournament",
    flow_run_name="tournament",
    description=__doc__,
    persist_result=False,
    validate_parameters=True,
)
def tournament(
    recipes: list[str] | None = None,
    folders: list[str] | None = None,
    folds: int = 0,
    epochs: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    hand_over: bool = False,  # noqa: FBT001, FBT002 - a flow parameter, shown by name in the UI
    save: str | None = None,
) -> State[Any]:
    """Train recipes on the same images and rank them.

    Args:
        recipes: names of the recipes to train; CXR_RECIPES if not given.
        folders: labelled sets on this machine, one sub-folder for each class; the labels in the database if not given.
        folds: number of folds of a cross-validation by patient, at least 2; 0 for a single split.
        epochs: upper limit on each recipe's number of epochs.
        minutes: time limit for each training; no epoch starts that would not end within it.
        seed: of folds, initial weights, order and augmentation.
        hand_over: let the winner challenge the champion (labels in the database only).
        save: write the report to this file instead of the bucket.
    """
    run = Tournament(Settings.load(), flow_run_id())
    if hand_over and folders:
        return Failed(message="only a winner on the labels in the database can challenge the champion: give no folders")
    terms = fold_training.TrainingTerms(folds, seed, epochs, minutes, code_version(), run.settings.pretrained_dir)
    return run.ended_in_words(
        lambda: hold(run, recipes or run.settings.recipes, folders or [], terms, save, hand_over=hand_over)
    )


def hold(
    run: Tournament,
    recipes: Sequence[str],
    folders: Sequence[str],
    terms: TrainingTerms,
    save: str | None,
    *,
    hand_over: bool,
) -> State[Any]:
    """Run the steps in order."""
    settings = run.settings
    check_folds(terms.folds)
    if why := publishing.unwritable(Path(save)) if save else unnamed_bucket(settings):
        return Failed(message=why)
    chosen = [recipe_named(name, settings.pretrained) for name in dict.fromkeys(recipes)]
    with fold_training.machine_lock(settings.cache):
        try:
            tables = run_sets(run, read_sets(run, folders), chosen, terms)
        finally:  # patients' pixels, including those that a killed tournament left
            fold_training.remove_pixels(settings.cache)
    volatile = ranking.volatility(tables) if len(tables) > 1 else []
    show(run, tables, volatile)
    message = " ".join([ranking.sentence(tables[0]), *(f"Note: {words}." for words in run.notes)])
    try:
        message += f" Report: {publish(run, tables, volatile, save)}"
    except (StorageError, OSError) as error:
        why = str(getattr(error, "strerror", None) or error)  # the text of an OSError names the file twice
        return Failed(message=f"{message} The report could not be written ({why}); run it again: nothing is retrained")
    run.log.info("tournament %s: %s", run.run_id, message)
    if not hand_over:
        return Completed(message=message)
    return challenge(tables[0].winner.recipe, terms.epochs, terms.seed, message)


def unnamed_bucket(settings: Settings) -> str | None:
    """Return why there is no bucket for the report; None if one is set."""
    try:
        _ = settings.bucket
    except SettingsError as error:
        return f"{error}; or give a file for the report"
    return None


def read_sets(run: Tournament, folders: Sequence[str]) -> list[Entries]:
    """Read the labelled sets: the folders, or the labels in the database without the frozen test set."""
    settings = run.settings
    limits = Limits(settings.max_bytes, settings.max_pixels)
    shares = settings.validation_share, settings.test_share
    if folders:
        return [
            enter(labelled_images.from_folder(folder, shares), name, limits)
            for folder, name in named([Path(folder) for folder in folders]).items()
        ]
    found = run.retrying_database(labelled_images.from_database, run.pool, run.store, shares)
    return [enter(labelled_images.without_test_set(found), DATABASE, limits)]


def named(folders: Sequence[Path]) -> dict[Path, str]:
    """Name each folder by the shortest end of its path that is unique; repeated folders count once."""
    distinct = list(dict.fromkeys(folder.resolve() for folder in folders))
    names = [folder.name for folder in distinct]
    depth = 1
    while len(set(names)) < len(distinct):
        depth += 1
        names = ["/".join(folder.parts[-depth:]) for folder in distinct]
    return dict(zip(distinct, names, strict=True))


def run_sets(
    run: Tournament, sets: Sequence[Entries], recipes: Sequence[Recipe], terms: TrainingTerms
) -> list[Ranking]:
    """Let the recipes compete on each set. A set on which no recipe gave answers is noted.

    Raises:
        DatasetError: a set has too few patients for the folds. All folds are drawn before the first training.
        TournamentError: no recipe gave answers on any set.
    """
    drawn = [entries.folds(terms.folds, terms.seed) for entries in sets]
    tables = []
    failed = []
    for entries, splits in zip(sets, drawn, strict=True):
        try:
            tables.append(run_set(run, entries, recipes, splits, terms))
        except fold_training.TournamentError as error:
            failed.append(f"{entries.name}: {error}")
            run.log.error("tournament %s: %s", run.run_id, failed[-1])  # noqa: TRY400 - the message is enough
    if not tables:
        raise fold_training.TournamentError("; ".join(failed))
    run.notes += failed
    return tables


def run_set(
    run: Tournament,
    entries: Entries,
    recipes: Sequence[Recipe],
    splits: Sequence[NDArray[np.str_]],
    terms: TrainingTerms,
) -> Ranking:
    """Let the recipes compete on one set.

    Raises:
        TournamentError: no recipe gave answers.
    """
    run.log.info(
        "tournament %s: %s: %s of %s, %s. %s",
        run.run_id, entries.name, counted(len(entries.images), "image"),
        counted(len(set(entries.patients)), "patient"), ", ".join(entries.classes), " ".join(entries.remarks),
    )  # fmt: skip
    results: dict[str, list[FoldResult]] = {}
    failures: dict[str, str] = {}
    for recipe in recipes:
        try:
            results[recipe.name] = train_recipe(run, recipe, entries, splits, terms)
        except Exception as error:  # noqa: BLE001 - an error in one recipe must not stop the others
            failures[recipe.name] = in_words(error)
            run.log.error(  # noqa: TRY400 - Prefect has logged the traceback
                "tournament %s: %s gave no answers: %s", run.run_id, recipe.name, failures[recipe.name]
            )
    if not results:
        raise fold_training.TournamentError(
            "no recipe gave answers: " + "; ".join(f"{name}: {why}" for name, why in failures.items())
        )
    shortcuts: dict[str, NDArray[np.float32]] = {}
    with run.best_effort(f"{entries.name} has no simple models to compare the recipes with", noted=True):
        shortcuts = look_for_shortcuts(run, entries, splits)
    return ranking.rank(entries, results, failures, folds=terms.folds, seed=terms.seed, shortcuts=shortcuts)


@step("train recipe", run_name="train {recipe.name}")
def train_recipe(
    run: Tournament, recipe: Recipe, entries: Entries, splits: Sequence[NDArray[np.str_]], terms: TrainingTerms
) -> list[FoldResult]:
    """Train a recipe on each fold; folds that an earlier run finished are not trained again.

    Raises:
        TournamentError: the recipe gave no answers.
    """
    progress = Progress(f"tournament-{recipe.name}", len(splits))
    epochs = min(recipe.epochs, terms.epochs or recipe.epochs)
    found = []
    for number, split in enumerate(splits):

        def tell(epoch: int, figures: dict[str, float], fold: int = number) -> None:
            words = f"fold {fold + 1} of {len(splits)}, epoch {epoch} of {epochs}: " + ", ".join(
                f"{what} {value:.3f}" for what, value in figures.items()
            )
            run.log.info("tournament %s: %s, %s", run.run_id, recipe.name, words)
            progress.attempt((fold + epoch / epochs) / len(splits), words)

        found.append(fold_training.train_fold(run.settings.cache, entries, recipe, number, split, terms, tell))
    return found


@step("look for shortcuts")
def look_for_shortcuts(
    run: Tournament, entries: Entries, splits: Sequence[NDArray[np.str_]]
) -> dict[str, NDArray[np.float32]]:
    """Run simple models on the same images: a recipe that is no better than they are has learned a shortcut."""
    return baselines.baselines(run.settings.cache, entries, splits)


def show(run: Tournament, tables: Sequence[Ranking], volatile: Sequence[ranking.Volatility]) -> None:
    """Print the tables and show them in the Prefect UI."""
    text = "\n\n".join(map(ranking.markdown, tables))
    if volatile:
        text += f"\n\n{ranking.volatility_markdown(volatile)}"
    print(text)  # noqa: T201 - the table is the command's output
    with run.best_effort("the table could not be shown in the Prefect UI", noted=True), at_once():
        create_markdown_artifact(text, key="tournament", description="Recipes on the same images, ranked")


def publish(
    run: Tournament, tables: Sequence[Ranking], volatile: Sequence[ranking.Volatility], save: str | None
) -> str:
    """Write the report to a file or to the bucket; return its path or link."""
    page = tournament_report.render(tables, volatile, run.settings.timezone)
    if save:
        Path(save).write_text(page, encoding="utf-8")
        return save
    day = datetime.now(ZoneInfo(run.settings.timezone)).date()
    return publishing.link(run.settings, tournament_report.publish(run.store, day, run.run_id, page))


def challenge(winner: str, epochs: int | None, seed: int, message: str) -> State[Any]:
    """Let the winner challenge the champion: it is trained again and must pass the gate on the frozen test set.

    It trains for as many epochs as in the tournament. There `epochs` is an upper limit; in a retraining it replaces the
    recipe's number, so the smaller of the two is passed on.
    """
    from flows.retraining import retrain_and_compare

    limit = min(RECIPES[winner].epochs, epochs) if epochs else None
    state = retrain_and_compare(recipes=[winner], cause="by hand", seed=seed, epochs=limit, return_state=True)
    ended = f"{message}. The gate: {state.message}"
    return Completed(message=ended) if state.is_completed() else Failed(message=ended)
