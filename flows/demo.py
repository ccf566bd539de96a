"""Commands to try the system out: made data, uploading a folder, and the whole thing in one go."""

from __future__ import annotations

import os
import shlex
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.session import connected, import_training, prepare_prefect
from infra import statefolder
from infra.settings import Settings, SettingsError, home, named_services
from tasks.wording import counted

if TYPE_CHECKING:
    import sqlalchemy as sa

    from infra.storage import Store
    from tasks.registry import Champion

TRAINING_PHANTOMS = 480
TRAINING_EPOCHS = 7
TRAINING_BUDGET_S = 120.0
"""On a busy machine training stops here, with the best epoch so far."""
NIGHT_PHANTOMS = 150
MIN_LABELLED = 30


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

    settings = Settings.load()
    where = datetime.now(UTC).strftime(prefix)
    typer.echo(_copy(Store(settings), folder, where, settings))


def demo(
    images: Annotated[Path | None, typer.Option(help="Score this folder instead of made images.")] = None,
) -> None:
    """Show the whole system at work: start the stack, make data, train a first champion, score a night.

    The stack stays up, so that you can look around; `cxr down` stops it. With --images the champion learns from that
    folder too if it has a sub-folder with 30 images or more for each class; it replaces a champion that learned from
    phantoms, and never one that learned from real images. Works on the local stack only.
    """
    named = named_services()
    if named:
        raise SettingsError(
            f"the demo fills the local stack with made data and touches no other: unset {', '.join(named)} first"
        )
    if images and not _images_in(images, Settings.load()):
        typer.echo(f"cxr: there are no images in {images}", err=True)
        raise typer.Exit(1)
    began = time.monotonic()
    labelled = _labelled(images)
    with ThreadPoolExecutor(1) as drawing:  # while Prefect, which takes longest, comes up
        drawn = drawing.submit(_draw, training=not labelled, night=images is None)
        _ensure_stack()
        settings = Settings.load()
        prepare_prefect(settings)
        typer.echo("2. The data: " + (f"the files of {images}." if images else "phantoms, good and bad ones."))
        drawn.result()
    prefix = _upload_night(settings, images)
    typer.echo("3. A champion.")
    made = ensure_champion(settings, images if labelled else None)
    if images and made:
        typer.echo("   IT LEARNED FROM PHANTOMS: ITS WORD ON YOUR IMAGES MEANS NOTHING (and the rows say so).")
        typer.echo("   One that learns from yours, out of a sub-folder for each class:")
        typer.echo(f"   {_by_hand(images)}")
    typer.echo(f"4. The night. Watch it at {_ui(settings)}/runs")
    # The console stays with the demo's own words; the UI has the log.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    from flows.scoring import nightly_scoring

    state = nightly_scoring(prefixes=[prefix], return_state=True)
    _where_to_look(settings, str(state.name), str(state.message), time.monotonic() - began)
    if not state.is_completed():
        raise typer.Exit(1)


def _ensure_stack() -> None:
    if statefolder.ready(home()):
        typer.echo(f"1. The local stack runs already in {home()}.")
        return
    typer.echo("1. Starting the local stack.")
    from flows.stack import up

    up(detach=True)


def _images_in(folder: Path, settings: Settings) -> int:
    """Count the files below a folder that a night would take for images by their names."""
    skipped = tuple(suffix.lower() for suffix in settings.skip_suffixes)
    return sum(path.is_file() and not path.name.lower().endswith(skipped) for path in folder.rglob("*"))


def _copy(store: Store, folder: Path, prefix: str, settings: Settings) -> str:
    """Copy a folder's files into the bucket; returns how many, and how many of them a night passes over."""
    from tasks.reporting import publish_folder

    count = publish_folder(store, folder, prefix)
    others = count - _images_in(folder, settings)
    files = f"{counted(count, 'file')} copied to {prefix}"
    named = "image by its name" if others == 1 else "images by their names"
    return f"{files}, {others} of them no {named}" if others else files


def _labelled(images: Path | None) -> bool:
    """Tell whether a folder has enough images in a sub-folder for each class to learn from."""
    if images is None:
        return False
    counts = [sum(path.is_file() for path in one.iterdir()) for one in images.iterdir() if one.is_dir()]
    return len(counts) > 1 and min(counts) >= MIN_LABELLED


def _folder(name: str) -> Path:
    return home() / "demo" / name


def _draw(*, training: bool, night: bool) -> None:
    """Draw the phantoms that are needed and not there yet; labels.csv is written last."""
    from models.phantom import write_phantoms
    from models.spoiled import write_spoiled

    for name, count, seed, wanted in (
        ("training", TRAINING_PHANTOMS, 1, training),
        ("night", NIGHT_PHANTOMS, 2, night),
    ):
        if wanted and not (_folder(name) / "labels.csv").exists():
            write_phantoms(_folder(name), count, seed)
    if night and not (_folder("night") / "bad").exists():
        write_spoiled(_folder("night") / "bad", seed=2)


def _upload_night(settings: Settings, images: Path | None) -> str:
    """Put the night's images into the bucket; returns their prefix."""
    from infra.storage import Store

    prefix = "incoming/demo/" if images else "made/demo/"
    typer.echo(f"   {_copy(Store(settings), images or _folder('night'), prefix, settings)}.")
    return prefix


def ensure_champion(settings: Settings, labelled: Path | None) -> bool:
    """Train a champion where there is none, or where one of phantoms gives way to one of labelled images.

    Args:
        settings: of the local stack.
        labelled: a folder of images to learn from; without it, phantoms.

    Returns:
        Whether the champion learned from made data.
    """
    from tasks import registry

    with connected() as (_, pool):
        try:
            present = registry.champion(pool)
        except registry.RegistryError:
            _train(settings, pool, labelled or _folder("training"), None)
        else:
            typer.echo(f"   {present.model_version} is champion already.")
            if labelled and present.made_data:
                _train(settings, pool, labelled, present)
            elif labelled:
                typer.echo("   It learned from real images, so the demo leaves it. One that learns from these:")
                typer.echo(f"   {_by_hand(labelled)}")
        return registry.champion(pool).made_data


def _by_hand(folder: Path) -> str:
    return f"cxr train {shlex.quote(str(folder))}, then cxr promote VERSION --reason '...'"


def _train(settings: Settings, pool: sa.Engine, folder: Path, present: Champion | None) -> None:
    """Train on a folder; what learned from real images takes the place of the champion that is there."""
    from infra.storage import Store
    from models.radiograph import Limits
    from models.recipes import RECIPES

    import_training()
    from tasks import datasets, registry, training

    recipe = RECIPES["compact-cnn"]
    data = datasets.from_folder(folder, recipe.preprocessing, limits=Limits(settings.max_bytes, settings.max_pixels))
    if present and data.made:
        typer.echo(f"   {folder} holds phantoms too, so it stays.")
        return
    what = f"{len(data.labels)} {'phantoms' if data.made else 'images'} of {len(set(data.patients))} patients"
    typer.echo(f"   {'It learned from phantoms; training one' if present else 'Training the first one'} on {what}.")
    outcome = training.train_and_register(
        pool, Store(settings), recipe, data, seed=0, epochs=TRAINING_EPOCHS, budget_s=TRAINING_BUDGET_S,
        say=lambda line: typer.echo(f"   {line}"),
    )  # fmt: skip
    typer.echo(textwrap.indent(str(outcome), "   "))
    if present and not outcome.first:
        reason = "the demo: it learned from real images, the one before it from phantoms"
        if outcome.warning:
            reason += f". Not fit for use: {outcome.warning}"
        registry.promote(pool, outcome.model_version, reason)
        typer.echo("   It is champion now.")


def _ui(settings: Settings) -> str:
    return (settings.prefect_api_url or "").removesuffix("/api")


def _where_to_look(settings: Settings, name: str, message: str, seconds: float) -> None:
    from tasks import reporting, runs

    with connected() as (_, pool):
        try:
            report = reporting.link(settings, runs.report_key(pool, None))
        except runs.RunError as error:
            report = str(error)
    typer.echo(f"\n{name}: {message}\n\nAll of it took {seconds:.0f} s. Where to look:")
    for what, where in (
        ("Prefect UI", f"{_ui(settings)}/runs"),
        ("report", report),
        ("rows", ".venv/bin/cxr psql -- -x -c 'select * from night_summary'"),
        ("", ".venv/bin/cxr psql -- -x -c 'select * from latest_prediction limit 3'"),
        ("runs", ".venv/bin/cxr status"),
        ("stop it", ".venv/bin/cxr down   (or make down)"),
    ):
        typer.echo(f"  {what:12} {where}")
    typer.echo("Research use, not for diagnosis.")
