"""Commands about labels: bring in ground truth, and see how it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.session import connected

labels = typer.Typer(
    name="labels", no_args_is_help=True, help="Bring in ground truth for radiographs, and see how it stands."
)


@labels.command("import")
def bring_in(
    path: Annotated[
        Path, typer.Argument(exists=True, help="A CSV file, or a folder with one sub-folder for each class.")
    ],
    source: Annotated[
        str | None,
        typer.Option(help="Who says so: a reader, a report system, a study; adjudication: this word stands."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Where the files of a covid-chestxray sheet lie.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="What comes before the file names of a covid-chestxray sheet in the bucket.")
    ] = None,
    new_class: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Take this class too, though nobody knows it yet; once for each."),
    ] = None,
) -> None:
    """Bring ground truth into the database; a radiologist's corrections come in the same way.

    PATH is a CSV file with object_key (or sha256), label, patient_id and, without --source, source; view, sex, age and
    site are taken where they are there. Or a folder with one sub-folder for each class, perhaps with a labels.csv
    (file, label, patient_id): its images are put into the bucket under labelled/. Or the metadata sheet of
    ieee8023/covid-chestxray-dataset, with --images or --prefix.

    Labels are kept by image content with their history. A source's newer label supersedes its own older one; where
    sources disagree, `adjudication` counts, else the latest word. Rows that break the rules are refused and listed;
    rows of an unknown class or an image that nobody has seen wait, and are tried again at each import and each
    retraining. Safe to repeat. Exits with 1 if no row at all could be used.

    Examples: `cxr labels import march.csv --source 'radiology review 2026-03'`, `cxr labels import corrections.csv
    --source adjudication`, `cxr labels import data/ --source 'chest clinic' --new-class TUBERCULOSIS`, `cxr labels
    import metadata.csv --images images/`
    """
    from infra.storage import Store
    from tasks.labels import importing as ground_truth
    from tasks.labels import report

    with connected() as (settings, pool):
        done = ground_truth.import_labels(
            pool, Store(settings), settings, path, source=source, images=images, prefix=prefix,
            new_classes=new_class or (),
        )  # fmt: skip
    typer.echo("\n".join(report.import_lines(done)))
    if len(done.refused) == done.rows:  # of an empty sheet, too
        raise typer.Exit(1)


@labels.command()
def status() -> None:
    """Show how many labels there are by class, source and split, what sources disagree on and what waits.

    Example: `cxr labels status`
    """
    from tasks.labels import report

    with connected() as (settings, pool):
        typer.echo("\n".join(report.status_lines(pool, settings.bucket)))
