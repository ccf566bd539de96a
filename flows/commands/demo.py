"""Commands to try the system out: made data, the upload of a folder, and a demo of the whole system."""

from __future__ import annotations

import os
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.session import connected, prepare_prefect
from infra import statefolder
from infra.settings import Settings, SettingsError, named_services, state_folder
from tasks.pages import publishing
from tasks.pages.wording import counted

if TYPE_CHECKING:
    import sqlalchemy as sa
    from prefect.client.schemas.objects import State

    from infra.storage import Store
    from tasks.registry.model_versions import ModelVersion

TRAINING_PHANTOMS = 640
FIRST_EPOCHS, SECOND_EPOCHS = 2, 7
"""Epochs of the first champion, which is meant to be beaten, and of its challenger."""
PHANTOM_RECIPE = "compact-cnn"
TRAINING_MINUTES = "2.5"
"""Time limit for each training: on a busy machine it stops there and keeps the best epoch so far."""
TEST_SHARE = "0.25"
"""Share of the phantoms' patients: with fewer, the gate could not decide."""
NIGHT_PHANTOMS = 150
MIN_LABELLED = 30


def phantoms(
    folder: Annotated[Path, typer.Argument(help="Where to write; created if it is missing.")],
    count: Annotated[int, typer.Option(min=1)] = 300,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    bad: Annotated[bool, typer.Option("--bad", help="Also write files that must be quarantined, in bad/.")] = False,
) -> None:
    """Write made radiographs (phantoms) with their labels: for trials and tests, never for a patient.

    Every file carries a mark in its bytes, so its rows say that the data is made.
    """
    from models.phantoms.phantom import write_phantoms
    from models.phantoms.spoiled import write_spoiled_files

    made = write_phantoms(folder, count, seed)
    spoiled = write_spoiled_files(folder / "bad", seed) if bad else []
    typer.echo(f"{len(made)} phantoms and {len(spoiled)} bad files written to {folder}")


def upload(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    prefix: Annotated[
        str, typer.Option(help="Where in the bucket; may hold a date pattern for today.")
    ] = "incoming/%Y/%m/%d/",
) -> None:
    """Copy a folder's files into the bucket, under a prefix.

    Example: `cxr upload scans/ --prefix incoming/ward-3/`
    """
    from infra.storage import Store

    settings = Settings.load()
    where = datetime.now(UTC).strftime(prefix)
    typer.echo(_copy(Store(settings), folder, where, settings))


def demo(
    images: Annotated[Path | None, typer.Option(help="Score this folder instead of made images.")] = None,
) -> None:
    """Show the whole system at work: start the stack, make data, train a champion, score a night, retrain, compare.

    The stack stays up, so that you can look around; `cxr down` stops it. With --images the models learn from that
    folder too if it has a sub-folder with 30 images or more for each class. A champion that learned from phantoms is
    then replaced; one that learned from real images must be beaten. Works on the local stack only.
    """
    named = named_services()
    if named:
        raise SettingsError(
            f"the demo fills the local stack with made data and uses no other services: unset {', '.join(named)} first"
        )
    if images and not _images_in(images, Settings.load()):
        typer.echo(f"cxr: there are no images in {images}", err=True)
        raise typer.Exit(1)
    started = time.monotonic()
    labelled = images if _labelled(images) else None
    with ThreadPoolExecutor(1) as drawing:  # while Prefect, which takes longest, starts
        drawn = drawing.submit(_draw, training=not labelled, night=images is None)
        _ensure_stack()
        prepare_prefect(Settings.load())
        typer.echo("2. The data: " + (f"the files of {images}." if images else "phantoms, good and bad ones."))
        drawn.result()
    # The console shows only the demo's own lines; the UI has the log.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    os.environ.setdefault("CXR_TRAINING_MINUTES", TRAINING_MINUTES)
    if not labelled:
        os.environ.setdefault("CXR_TEST_SHARE", TEST_SHARE)
    settings = Settings.load()
    prefix = _upload_night(settings, images)
    typer.echo(f"3. A champion. Watch it at {_ui(settings)}/runs")
    made = ensure_champion(settings, labelled)
    if images and made:
        typer.echo("   IT LEARNED FROM PHANTOMS: ITS PREDICTIONS FOR YOUR IMAGES MEAN NOTHING (and the rows say so).")
        typer.echo(
            "   To train one on your images, import labels for them (`cxr labels import`), then run `cxr retrain`."
        )
    typer.echo("4. The night.")
    from flows.scoring import nightly_scoring

    night = nightly_scoring(prefixes=[prefix], return_state=True)
    typer.echo(textwrap.indent(f"{night.name}: {night.message}", "   "))
    typer.echo(f"5. Retraining: {SECOND_EPOCHS} epochs instead of {FIRST_EPOCHS}; the gate decides.")
    compared = _retrain(None if labelled else SECOND_EPOCHS)
    _where_to_look(settings, time.monotonic() - started)
    if not (night.is_completed() and compared.is_completed()):
        raise typer.Exit(1)


def _ensure_stack() -> None:
    if statefolder.is_ready(state_folder()):
        typer.echo(f"1. The local stack is already running in {state_folder()}.")
        return
    typer.echo("1. Starting the local stack.")
    from flows.commands.stack import up

    up(detach=True)


def _images_in(folder: Path, settings: Settings) -> int:
    """Count the files below a folder whose names a night would accept as images."""
    skipped = tuple(suffix.lower() for suffix in settings.skip_suffixes)
    return sum(path.is_file() and not path.name.lower().endswith(skipped) for path in folder.rglob("*"))


def _copy(store: Store, folder: Path, prefix: str, settings: Settings) -> str:
    """Copy a folder's files into the bucket; return a sentence with their number and how many a night skips."""
    from tasks.pages.publishing import publish_folder

    count = publish_folder(store, folder, prefix)
    others = count - _images_in(folder, settings)
    files = f"{counted(count, 'file')} copied to {prefix}"
    named = "image by its name" if others == 1 else "images by their names"
    return f"{files}, {others} of them no {named}" if others else files


def _labelled(images: Path | None) -> bool:
    """Tell whether a folder has sub-folders for at least two classes, each with enough images to learn from."""
    if images is None:
        return False
    counts = [sum(path.is_file() for path in one.iterdir()) for one in images.iterdir() if one.is_dir()]
    return len(counts) > 1 and min(counts) >= MIN_LABELLED


def _folder(name: str) -> Path:
    return state_folder() / "demo" / name


def _draw(*, training: bool, night: bool) -> None:
    """Write the phantoms that are needed and still missing; labels.csv, written last, marks a complete folder."""
    from models.phantoms.phantom import write_phantoms
    from models.phantoms.spoiled import write_spoiled_files

    for name, count, seed, wanted in (
        ("training", TRAINING_PHANTOMS, 1, training),
        ("night", NIGHT_PHANTOMS, 2, night),
    ):
        if wanted and not (_folder(name) / "labels.csv").exists():
            write_phantoms(_folder(name), count, seed)
    if night and not (_folder("night") / "bad").exists():
        write_spoiled_files(_folder("night") / "bad", seed=2)


def _upload_night(settings: Settings, images: Path | None) -> str:
    """Upload the night's images into the bucket; return their prefix."""
    from infra.storage import Store

    prefix = "incoming/demo/" if images else "made/demo/"
    typer.echo(f"   {_copy(Store(settings), images or _folder('night'), prefix, settings)}.")
    return prefix


def ensure_champion(settings: Settings, labelled: Path | None) -> bool:
    """Import labels; train a champion if there is none, or if one trained on phantoms must be replaced.

    Args:
        settings: of the local stack.
        labelled: a folder of images to learn from; phantoms if None.

    Returns:
        Whether the champion learned from made data.
    """
    from infra.storage import Store
    from tasks.labels import importing, report
    from tasks.registry import model_versions

    with connected() as (_, pool):
        folder = labelled or _folder("training")
        done = importing.import_labels(pool, Store(settings), settings, folder, source="demo")
        typer.echo(textwrap.indent("\n".join(report.import_lines(done)), "   "))
        try:
            current = model_versions.champion(pool)
        except model_versions.NoChampionError:
            current = None
        if current and not (labelled and current.made_data):
            typer.echo(f"   {current.model_version} is already the champion.")
            return current.made_data
        _retrain(None if labelled else FIRST_EPOCHS)
        return _ensure_promoted(pool, current).made_data


def _retrain(epochs: int | None) -> State[Any]:
    """Run the retraining flow and print what it decided."""
    from flows.retraining import retrain_and_compare

    # The default recipe counts textures, and phantoms have none. Half-size images train in a quarter of the time.
    recipes = [PHANTOM_RECIPE] if epochs else None
    state = retrain_and_compare(recipes=recipes, cause="by hand", epochs=epochs, return_state=True)
    typer.echo(textwrap.indent(f"{state.name}: {state.message}", "   "))
    return state


def _ensure_promoted(pool: sa.Engine, before: ModelVersion | None) -> ModelVersion:
    """Return the champion; promote the newest model by hand if no model passed the gate.

    Raises:
        RegistryError: there is no model at all.
    """
    from tasks.registry import model_versions, promotion

    try:
        now = model_versions.champion(pool)
    except model_versions.NoChampionError:
        now = None
    if now and (before is None or now.model_version != before.model_version):
        return now
    newest = model_versions.newest(pool)
    if now and (newest.made_data or newest.model_version == now.model_version):
        return now
    promotion.promote(pool, newest.model_version, "the demo needs a champion; this one did NOT pass the gate")
    typer.echo(f"   WARNING: not fit for use: it did not pass the gate. The demo makes {newest.model_version}")
    typer.echo("   champion anyway, so that there is something to see.")
    return model_versions.champion(pool)


def _ui(settings: Settings) -> str:
    return (settings.prefect_api_url or "").removesuffix("/api")


def _where_to_look(settings: Settings, seconds: float) -> None:
    from tasks.nights import overview

    reports = {}
    with connected() as (_, pool):
        for what, retraining in (("night", False), ("comparison", True)):
            try:
                reports[what] = publishing.link(settings, overview.report_key(pool, None, retraining=retraining))
            except overview.NoSuchRunError as error:
                reports[what] = str(error)
    typer.echo(f"\nAll of it took {seconds:.0f} s. Where to look:")
    for what, where in (
        ("Prefect UI", f"{_ui(settings)}/runs"),
        *reports.items(),
        ("rows", ".venv/bin/cxr psql -- -x -c 'select * from night_summary'"),
        ("", ".venv/bin/cxr psql -- -x -c 'select * from latest_prediction limit 3'"),
        ("runs", ".venv/bin/cxr status"),
        ("champions", ".venv/bin/cxr champion history"),
        ("stop it", ".venv/bin/cxr down   (or make down)"),
    ):
        typer.echo(f"  {what:12} {where}")
    typer.echo("Research use, not for diagnosis.")
