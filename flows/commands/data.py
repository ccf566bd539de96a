"""Commands about data: inspect labelled images before training on them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from flows.commands.files import require_writable, write_private
from flows.commands.session import connected
from infra.settings import Settings

if TYPE_CHECKING:
    from tasks.datasets.labelled_images import Collection

data = typer.Typer(name="data", no_args_is_help=True, help="Inspect labelled images before training on them.")

PAGE = Path("data-report.html")


@data.callback()
def group() -> None:
    """Keep `report` a subcommand: Typer would merge a group's only command into the group."""


@data.command()
def report(
    folder: Annotated[
        Path | None,
        typer.Argument(
            exists=True, file_okay=False, help="One sub-folder for each class, and optionally a labels.csv."
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A CSV sheet about the patients: finding, sex, age, view ..."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help=f"Write the page to this file. For a folder or a sheet: {PAGE} if not given."
        ),
    ] = None,
) -> None:
    """Report on labelled images as one HTML page: classes, mean images, grey values, shortcuts, duplicates, people.

    With FOLDER: its images (a labels.csv with file, label, patient_id keeps a patient's images together); no service is
    needed. Without FOLDER: the labelled images in the database; the page goes to --save, or into the bucket, and a link
    is printed. With --metadata alone: only what the sheet says about patients.

    It warns if files or borders give the classes away, and about near-duplicates and patients in several classes. The
    page shows radiographs: handle it as patient data.

    Examples: `cxr data report data/`, `cxr data report`, `cxr data report --metadata metadata.csv --save people.html`
    """
    from tasks.datasets import labelled_images

    settings = Settings.load()
    shares = (settings.validation_share, settings.test_share)
    target = save or (PAGE if folder or metadata else None)
    if target:
        require_writable(target)
    if target and (folder or metadata):
        found = labelled_images.from_folder(folder, shares) if folder else None
        _write(_page(settings, found, metadata), target)
        return
    with connected() as (settings, pool):
        from infra.storage import Store
        from tasks.data_report import report as data_report

        store = Store(settings)
        page = _page(settings, labelled_images.from_database(pool, store, shares), None)
    if target:
        _write(page, target)
    else:
        typer.echo(store.presigned_url(data_report.publish(store, datetime.now(ZoneInfo(settings.timezone)), page)))


def _page(settings: Settings, collection: Collection | None, metadata: Path | None) -> str:
    """Survey the images, read the metadata sheet, and render the page; one of the two may be missing."""
    from infra.version import code_version
    from models.radiographs.radiograph import Limits
    from tasks.data_report import facts as data_facts
    from tasks.data_report import people
    from tasks.data_report import report as data_report
    from tasks.data_report import survey as data_survey

    now, code = datetime.now(ZoneInfo(settings.timezone)), code_version()
    classes = sorted({image.label for image in collection.images}) if collection else []
    # The sheet comes first: an error in it shows before the slow survey.
    people_facts = {data_report.SHEET: people.from_sheet(metadata, classes)} if metadata else {}
    if collection is None:
        return data_report.render(
            data_report.DataEvidence(made_at=now, code_version=code, people=people_facts), settings.timezone
        )
    limits = Limits(settings.max_bytes, settings.max_pixels)
    survey = data_survey.survey_images(collection, limits, workers=settings.intake_threads, progress=_say)
    facts = data_facts.compute_facts(survey, _say)
    labels = people.from_images(survey.images)
    evidence = data_report.DataEvidence(
        made_at=now, code_version=code, collection=collection, survey=survey, facts=facts,
        pictures=data_report.pictures(survey, facts, limits),
        people=people_facts | ({data_report.LABELS: labels} if labels else {}),
    )  # fmt: skip
    return data_report.render(evidence, settings.timezone)


def _say(words: str) -> None:
    """Report progress on stderr, apart from the command's output."""
    typer.echo(words, err=True)


def _write(page: str, file: Path) -> None:
    write_private(file, page.encode())
    typer.echo(f"written to {file}")
