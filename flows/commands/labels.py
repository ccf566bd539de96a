"""Commands about labels: import ground truth, and show its state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.session import connected

labels = typer.Typer(
    name="labels", no_args_is_help=True, help="Import ground truth for radiographs, and show its state."
)


@labels.command("import")
def import_sheet(
    path: Annotated[
        Path, typer.Argument(exists=True, help="A CSV file, or a folder with one sub-folder for each class.")
    ],
    source: Annotated[
        str | None,
        typer.Option(
            help="Who made the labels: a reader, a report system, a study; adjudication overrides all others."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The folder with the files of a covid-chestxray sheet."),
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="The prefix of a covid-chestxray sheet's files in the bucket.")
    ] = None,
    new_class: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Accept this class although it is new; repeatable."),
    ] = None,
) -> None:
    """Import ground truth into the database; a radiologist's corrections are imported in the same way.

    PATH is a CSV file with object_key (or sha256), label, patient_id and, without --source, source; view, sex, age and
    site are optional. Or it is a folder with one sub-folder for each class, and optionally a labels.csv (file, label,
    patient_id): its images are uploaded to the bucket under labelled/. Or it is the metadata sheet of
    ieee8023/covid-chestxray-dataset, with --images or --prefix.

    Labels are stored by image content, with their history. A source's newer label supersedes its own older one. If
    sources disagree, `adjudication` counts, otherwise the latest label. Rows that break the rules are refused and
    listed. Rows with an unknown class or an unknown image wait, and are tried again at each import and each retraining.
    Safe to repeat. Exits with 1 if no row could be used.

    Examples: `cxr labels import march.csv --source 'radiology review 2026-03'`, `cxr labels import corrections.csv
    --source adjudication`, `cxr labels import data/ --source 'chest clinic' --new-class TUBERCULOSIS`, `cxr labels
    import metadata.csv --images images/`
    """
    from infra.storage import Store
    from tasks.labels import importing
    from tasks.labels import report as label_report

    with connected() as (settings, pool):
        done = importing.import_labels(
            pool, Store(settings), settings, path, source=source, images=images, prefix=prefix,
            new_classes=new_class or (),
        )  # fmt: skip
    typer.echo("\n".join(label_report.import_lines(done)))
    if len(done.refused) == done.rows:  # true of an empty sheet too
        raise typer.Exit(1)


@labels.command()
def status() -> None:
    """Show the number of labels by class, source and split, the disagreements of sources, and what waits.

    Example: `cxr labels status`
    """
    from tasks.labels import report as label_report

    with connected() as (settings, pool):
        typer.echo("\n".join(label_report.status_lines(pool, settings.bucket)))
