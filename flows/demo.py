"""Commands to try the system out: made data, uploading a folder, and the whole thing in one go."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.session import connected, prepare_prefect
from infra import statefolder
from infra.settings import Settings, home

TRAINING_PHANTOMS = 600
NIGHT_PHANTOMS = 150
MIN_LABELLED = 30
TRAINING_BUDGET_S = 100.0


def phantoms(
    folder: Annotated[Path, typer.Argument(help="Where to write; made where it is missing.")],
    count: Annotated[int, typer.Option(min=1)] = 300,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    bad: Annotated[bool, typer.Option("--bad", help="Also write files that must be quarantined, below bad/.")] = False,
) -> None:
    """Write made radiographs (phantoms) with their labels: for trying out and for tests, never for a patient.

    Every file carries a mark in its bytes, so that its rows say that they are made.
    """
    from models.phantom import write_phantoms
    from models.spoiled import write_spoiled

    made = write_phantoms(folder, count, seed)
    spoiled = write_spoiled(folder / "bad", seed) if bad else []
    typer.echo(f"{len(made)} phantoms and {len(spoiled)} bad files written to {folder}")


def upload(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    prefix: Annotated[
        str, typer.Option(help="Where in the bucket; may hold a date pattern for today.")
    ] = "incoming/%Y/%m/%d/",
) -> None:
    """Copy a folder's files into the bucket, below a prefix.

    Example: `cxr upload scans/ --prefix incoming/ward-3/`
    """
    from infra.storage import Store
    from tasks.reporting import publish_folder

    store = Store(Settings.load())
    where = datetime.now(UTC).strftime(prefix)
    typer.echo(f"{publish_folder(store, folder, where)} files copied to {where}")


def demo(
    images: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Score this folder instead of made images.")
    ] = None,
) -> None:
    """Show the whole system at work: start the stack, make data, train a first champion, score a night.

    The stack stays up, so that you can look around; `cxr down` stops it. With --images the champion learns from that
    folder too if it has a sub-folder with 30 images or more for each class.
    """
    began = time.monotonic()
    if statefolder.ready(home()):
        typer.echo(f"1. The local stack runs already in {home()}.")
    else:
        typer.echo("1. Starting the local stack.")
        from flows.stack import up

        up(detach=True)
    settings = Settings.load()
    prepare_prefect(settings)
    typer.echo("2. Preparing the data.")
    learned_from = _training_folder(images)
    prefix = _upload_night(settings, images)
    typer.echo("3. A first champion.")
    _ensure_champion(settings, learned_from)
    typer.echo("4. The night.")
    from flows.scoring import nightly_scoring

    state = nightly_scoring(prefixes=[prefix], return_state=True)
    _where_to_look(settings, str(state.name), str(state.message), time.monotonic() - began)
    if not state.is_completed():
        raise typer.Exit(1)


def _training_folder(images: Path | None) -> Path:
    """The user's folder where it is labelled, else phantoms."""
    from models.phantom import write_phantoms

    if images is not None:
        counts = {one.name: sum(path.is_file() for path in one.iterdir()) for one in images.iterdir() if one.is_dir()}
        if len(counts) > 1 and min(counts.values()) >= MIN_LABELLED:
            typer.echo(f"   {images} is labelled ({', '.join(sorted(counts))}): the champion learns from it.")
            return images
        typer.echo("   Your images have no labels (a sub-folder for each class): the champion learns from phantoms.")
        typer.echo("   ITS WORD ON YOUR IMAGES MEANS NOTHING; the rows say so (model_made_data).")
    folder = home() / "demo" / "training"
    if not (folder / "labels.csv").exists():
        typer.echo(f"   Drawing {TRAINING_PHANTOMS} phantoms to learn from.")
        write_phantoms(folder, TRAINING_PHANTOMS, seed=1)
    return folder


def _upload_night(settings: Settings, images: Path | None) -> str:
    """Put the night's images into the bucket; returns their prefix."""
    from infra.storage import Store
    from models.phantom import write_phantoms
    from models.spoiled import write_spoiled
    from tasks.reporting import publish_folder

    store = Store(settings)
    if images is not None:
        prefix = "incoming/demo/"
        typer.echo(f"   {publish_folder(store, images, prefix)} files of {images} copied to the bucket.")
        return prefix
    folder, prefix = home() / "demo" / "night", "made/demo/"
    if not (folder / "labels.csv").exists():
        write_phantoms(folder, NIGHT_PHANTOMS, seed=2)
        write_spoiled(folder / "bad", seed=2)
    typer.echo(f"   {publish_folder(store, folder, prefix)} files, good and bad ones, copied to the bucket.")
    return prefix


def _ensure_champion(settings: Settings, folder: Path) -> None:
    from infra.storage import Store
    from models.recipes import RECIPES
    from tasks import datasets, registry, training

    with connected() as (_, pool):
        try:
            typer.echo(f"   {registry.champion(pool).model_version} is champion already.")
        except registry.RegistryError:
            recipe = RECIPES["compact-cnn"]
            data = datasets.from_folder(folder, recipe.preprocessing)
            outcome = training.train_and_register(
                pool, Store(settings), recipe, data, seed=0, epochs=None, budget_s=TRAINING_BUDGET_S,
                say=lambda line: typer.echo(f"   {line}"),
            )  # fmt: skip
            typer.echo(f"   {outcome}")


def _where_to_look(settings: Settings, name: str, message: str, seconds: float) -> None:
    from tasks import reporting, runs

    with connected() as (_, pool):
        report = reporting.link(settings, runs.report_key(pool, None))
    ui = (settings.prefect_api_url or "").removesuffix("/api")
    typer.echo(
        f"\n{name}: {message}\n\nAll of it took {seconds:.0f} s. Where to look:\n"
        f"  Prefect UI   {ui}/runs\n"
        f"  report       {report}\n"
        "  rows         .venv/bin/cxr psql -- -c 'select * from night_summary'\n"
        "               .venv/bin/cxr psql -- -c 'select * from latest_prediction limit 5' -x\n"
        "  runs         .venv/bin/cxr status\n"
        "  stop it      .venv/bin/cxr down   (or make down)\n"
        "Research use, not for diagnosis."
    )
