"""The tournament flow: recipes trained on the same images and ranked; the winner challenges the champion on request.

Each recipe is a task of its own: one that fails or is killed does not cost the others, and a tournament that is run
again goes on where it was. The frozen test set takes no part: it is left for the gate, which the winner must pass.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.artifacts import Progress, at_once
from flows.commands.files import unwritable
from flows.work import as_is
from infra import database
from infra.settings import Settings, SettingsError
from infra.storage import StorageError, Store
from infra.version import code_version
from models.errors import in_words, is_explained
from models.radiographs.radiograph import Limits
from models.recipes.catalogue import RECIPES, recipe_named
from tasks.datasets import labelled_images
from tasks.pages import publishing
from tasks.pages.wording import counted
from tasks.tournament import baselines, fold_training, ranking, report
from tasks.tournament.entries import check_folds, enter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    hand_over: bool = False,  # noqa: FBT001, FBT002 - a flow's parameter, shown by name in the UI
    save: str | None = None,
) -> State[Any]:
    """Train recipes on the same images and rank them.

    Args:
        recipes: what to train; CXR_RECIPES if not given.
        folders: labelled sets on this machine, one sub-folder for each class; the labels in the database if not given.
        folds: of a cross-validation by patient, at least 2; 0: one split.
        epochs: at most, instead of the recipes'.
        minutes: for each training: no epoch is begun that would not end within it.
        seed: of folds, weights, order and augmentation.
        hand_over: let the winner challenge the champion (labels in the database only).
        save: write the report to this file instead of the bucket.
    """
    settings, log = Settings.load(), get_run_logger()
    if hand_over and folders:
        return Failed(message="only a winner on the labels in the database can challenge the champion: name no folders")
    terms = fold_training.TrainingTerms(folds, seed, epochs, minutes, code_version(), settings.pretrained_dir)
    notes: list[str] = []
    try:
        check_folds(folds)
        if why := unwritable(Path(save)) if save else unnamed_bucket(settings):
            return Failed(message=why)
        chosen = [recipe_named(name, settings.pretrained) for name in dict.fromkeys(recipes or settings.recipes)]
        with fold_training.machine_lock(settings.cache):
            try:
                tables = run_sets(settings, read_sets(settings, folders or []), chosen, terms, notes)
            finally:  # patients' pixels, also those that a killed one has left
                fold_training.remove_pixels(settings.cache)
    except Exception as error:
        if not is_explained(error):
            raise
        return Failed(message=str(error))
    volatile = ranking.volatility(tables) if len(tables) > 1 else []
    text = "\n\n".join(map(ranking.markdown, tables))
    if volatile:
        text += f"\n\n{ranking.volatility_markdown(volatile)}"
    print(text)  # noqa: T201 - the table is what was asked for
    with best_effort(notes, "the table is not in Prefect's UI"), at_once():
        create_markdown_artifact(text, key="tournament", description="Recipes on the same images, ranked")
    message = " ".join([ranking.sentence(tables[0]), *(f"Note: {words}." for words in notes)])
    try:
        message += f" Report: {publish(settings, tables, volatile, save)}"
    except (StorageError, OSError) as error:
        why = str(getattr(error, "strerror", None) or error)  # an OSError's own words name the file twice
        return Failed(message=f"{message} The report could not be written ({why}); run it again: nothing is retrained")
    log.info("tournament: %s", message)
    if not hand_over:
        return Completed(message=message)
    return challenge(tables[0].winner.recipe, epochs, seed, message)


def unnamed_bucket(settings: Settings) -> str | None:
    """Say that nobody names the bucket into which the report would go; None where it is named."""
    try:
        _ = settings.bucket
    except SettingsError as error:
        return f"{error}; or name a file for the report"
    return None


@contextmanager
def best_effort(notes: list[str], otherwise: str) -> Iterator[None]:
    """Go on after an error in what is inside: the table stands without it. `otherwise` is logged and noted."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost hours of training
        get_run_logger().warning("tournament: %s (%s)", otherwise, in_words(error))
        notes.append(f"{otherwise} ({in_words(error)})")


def read_sets(settings: Settings, folders: Sequence[str]) -> list[Entries]:
    """Read the labelled sets: folders, or the database's without the frozen test set."""
    limits = Limits(settings.max_bytes, settings.max_pixels)
    shares = settings.validation_share, settings.test_share
    if folders:
        return [
            enter(labelled_images.of_folder(folder, shares), name, limits)
            for folder, name in named([Path(folder) for folder in folders]).items()
        ]
    pool = database.engine(settings.database)
    try:
        found = labelled_images.of_database(pool, Store(settings), shares)
    finally:
        pool.dispose()
    return [enter(labelled_images.without_test(found), DATABASE, limits)]


def named(folders: Sequence[Path]) -> dict[Path, str]:
    """Call each folder by its own name, and by that of as many above it as tell it from the others; each is one set."""
    each = list(dict.fromkeys(folder.resolve() for folder in folders))
    names = [folder.name for folder in each]
    depth = 1
    while len(set(names)) < len(each):
        depth += 1
        names = ["/".join(folder.parts[-depth:]) for folder in each]
    return dict(zip(each, names, strict=True))


def run_sets(
    settings: Settings, sets: Sequence[Entries], recipes: Sequence[Recipe], terms: TrainingTerms, notes: list[str]
) -> list[Ranking]:
    """Let the recipes compete on each set; one in which none gave answers is noted.

    Raises:
        DatasetError: a set has too few patients for the folds: all are drawn before any recipe is trained.
        TournamentError: there is no set in which a recipe gave answers.
    """
    drawn = [entries.folds(terms.folds, terms.seed) for entries in sets]
    tables = []
    failed = []
    for entries, splits in zip(sets, drawn, strict=True):
        try:
            tables.append(run_set(settings, entries, recipes, splits, terms, notes))
        except fold_training.TournamentError as error:
            failed.append(f"{entries.name}: {error}")
            get_run_logger().error("tournament: %s", failed[-1])
    if not tables:
        raise fold_training.TournamentError("; ".join(failed))
    notes += failed
    return tables


def run_set(
    settings: Settings, entries: Entries, recipes: Sequence[Recipe], splits: Sequence[NDArray[np.str_]],
    terms: TrainingTerms, notes: list[str],
) -> Ranking:  # fmt: skip
    """Let the recipes compete on one set.

    Raises:
        TournamentError: none of them gave answers.
    """
    log = get_run_logger()
    log.info(
        "tournament: %s: %s of %s, %s. %s",
        entries.name, counted(len(entries.images), "image"), counted(len(set(entries.patients)), "patient"),
        ", ".join(entries.classes), " ".join(entries.remarks),
    )  # fmt: skip
    results: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for recipe in recipes:
        state = train_recipe(recipe.name, as_is((settings, entries, recipe, splits, terms)), return_state=True)
        if state.is_completed():
            results[recipe.name] = state.result()
        else:
            failures[recipe.name] = str(state.message)
            log.error("tournament: %s gave no answers: %s", recipe.name, state.message)
    if not results:
        raise fold_training.TournamentError(
            "no recipe gave answers: " + "; ".join(f"{name}: {why}" for name, why in failures.items())
        )
    shortcuts: dict[str, NDArray[np.float32]] = {}
    with best_effort(notes, f"{entries.name} has no simple models beside the recipes"):
        shortcuts = look_beside(as_is((settings, entries, splits)))
    return ranking.rank(entries, results, failures, folds=terms.folds, seed=terms.seed, shortcuts=shortcuts)


@task(name="train recipe", task_run_name="train {name}", cache_policy=NO_CACHE, persist_result=False)
def train_recipe(
    name: str, work: tuple[Settings, Entries, Recipe, Sequence[NDArray[np.str_]], TrainingTerms]
) -> list[FoldResult] | State[Any]:
    """Train a recipe on each fold; what an earlier run has done is not done again."""
    settings, entries, recipe, splits, terms = work
    log = get_run_logger()
    progress = Progress(f"tournament-{name}", len(splits))
    epochs = min(recipe.epochs, terms.epochs or recipe.epochs)
    found = []
    for number, split in enumerate(splits):

        def tell(epoch: int, figures: dict[str, float], fold: int = number) -> None:
            words = f"fold {fold + 1} of {len(splits)}, epoch {epoch} of {epochs}: " + ", ".join(
                f"{what} {value:.3f}" for what, value in figures.items()
            )
            log.info("tournament: %s, %s", name, words)
            progress.attempt((fold + epoch / epochs) / len(splits), words)

        try:
            found.append(fold_training.train_fold(settings.cache, entries, recipe, number, split, terms, tell))
        except fold_training.TournamentError as error:
            return Failed(message=str(error))
    return found


@task(name="look for shortcuts", task_run_name="look for shortcuts", cache_policy=NO_CACHE, persist_result=False)
def look_beside(
    work: tuple[Settings, Entries, Sequence[NDArray[np.str_]]],
) -> dict[str, NDArray[np.float32]]:
    """Let simple models answer the same images: a recipe that is no better has learned a shortcut."""
    settings, entries, splits = work
    return baselines.baselines(settings.cache, entries, splits)


def publish(
    settings: Settings, tables: Sequence[Ranking], volatile: Sequence[ranking.Volatility], save: str | None
) -> str:
    """Write the report to a file or into the bucket; returns where it lies."""
    page = report.render(tables, volatile, settings.timezone)
    if save:
        Path(save).write_text(page, encoding="utf-8")
        return save
    day = datetime.now(ZoneInfo(settings.timezone)).date()
    run_id = UUID(str(flow_run.id)) if flow_run.id else uuid4()
    return publishing.link(settings, report.publish(Store(settings), day, run_id, page))


def challenge(winner: str, epochs: int | None, seed: int, message: str) -> State[Any]:
    """Let the winner challenge the champion: it is trained anew and must pass the gate on the frozen test set.

    Its training is the tournament's: `epochs` bounds the recipe's there, and replaces them in a retraining.
    """
    from flows.retraining import retrain_and_compare

    most = min(RECIPES[winner].epochs, epochs) if epochs else None
    state = retrain_and_compare(recipes=[winner], cause="by hand", seed=seed, epochs=most, return_state=True)
    ended = f"{message}. The gate: {state.message}"
    return Completed(message=ended) if state.is_completed() else Failed(message=ended)
