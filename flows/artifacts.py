"""What people see of a run: its progress in the Prefect UI, then a summary there and its HTML pages."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import SettingsContext, get_settings_context

from models.radiographs.radiograph import Limits
from tasks.nights import figures
from tasks.nights import report as night_report
from tasks.pages import publishing
from tasks.radiographs import thumbnails

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date
    from uuid import UUID

    import sqlalchemy as sa

    from infra.settings import Settings
    from infra.storage import Store
    from tasks.nights.figures import ContactSheets, RunFigures
    from tasks.radiographs.thumbnails import HeatMaps, Thumbnail
    from tasks.retraining.evidence import ComparisonEvidence
    from tasks.validation.verdicts import ShardVerdicts

    Pictures = dict[int, Thumbnail]


@contextmanager
def at_once() -> Iterator[None]:
    """Call Prefect's server without retries: by default each artifact would wait a minute for a server that is down."""
    current = get_settings_context()
    # Prefect's `temporary_settings` reads and validates every setting again, which a short night would notice.
    client = current.settings.client.model_copy(update={"max_retries": 0})
    with SettingsContext(profile=current.profile, settings=current.settings.model_copy(update={"client": client})):
        yield


class Progress:
    """A progress bar of the run in the UI. After one failed update it stays silent."""

    def __init__(self, key: str, total: int) -> None:
        self.key, self.total, self.done = key, total, 0
        self.artifact: Any = None
        self.lost = False

    def add(self, images: int) -> None:
        """Count images as done."""
        self.done += images
        self.show(self.done / self.total, f"{self.done:,} of {self.total:,} images")

    def attempt(self, share: float, words: str) -> None:
        """Like `show`, but ignore any error."""
        with suppress(Exception):
            self.show(share, words)

    def show(self, share: float, words: str) -> None:
        """Set the bar to a share of the whole (0 to 1), with a description."""
        if self.lost:
            return
        self.lost = True
        with at_once():
            if self.artifact is None:
                self.artifact = create_progress_artifact(100 * share, key=self.key, description=words)
            else:
                update_progress_artifact(self.artifact, 100 * share, words)
        self.lost = False


def write_data_docs(
    store: Store, found: RunFigures, run_id: UUID, shards: Sequence[ShardVerdicts], shards_in_run: int
) -> str:
    """Build and store the Data Docs of the run's validation; return the key of their first page."""
    from tasks.validation.data_docs import build_data_docs

    prefix = f"{night_report.folder(found.night, run_id)}data-docs/"
    with tempfile.TemporaryDirectory() as folder:
        index = build_data_docs(shards, Path(folder), shards_in_run)
        publishing.publish_folder(store, Path(folder), prefix)
        return prefix + index.relative_to(folder).as_posix()


def contact_sheets(
    pool: sa.Engine, store: Store, settings: Settings, run_ids: Sequence[UUID]
) -> tuple[ContactSheets, Pictures]:
    """Choose the report's images and fetch their thumbnails. `run_ids`: this run, then the runs that it took over."""
    sheets = figures.contact_sheets(pool, run_ids)
    limits = Limits(settings.max_bytes, settings.max_pixels)
    return sheets, thumbnails.thumbnails(store, sheets.references, limits)


def write_report(
    store: Store, settings: Settings, found: RunFigures, run_id: UUID, sheets: tuple[ContactSheets, Pictures],
    docs_key: str | None, heat: HeatMaps | None = None,
) -> str:  # fmt: skip
    """Render the HTML report and store it; return its key."""
    ui = (settings.prefect_api_url or "").removesuffix("/api")
    links = night_report.Links(
        data_docs=publishing.link(settings, docs_key) if docs_key else None,
        flow_run=f"{ui}/runs/flow-run/{run_id}" if ui else None,
    )
    html = night_report.render(found, *sheets, links, settings.timezone, heat)
    return night_report.publish(store, found.night, run_id, html)


def show(settings: Settings, found: RunFigures, report_key: str | None, docs_key: str | None) -> None:
    """Show the summary, the tables of classes and reasons, and the links in the Prefect UI."""
    report = publishing.link(settings, report_key) if report_key else None
    docs = publishing.link(settings, docs_key) if docs_key else None
    summary = night_report.summary_markdown(found, report, docs)
    with at_once():
        create_markdown_artifact(summary, key="scoring-summary", description="What happened this night")
        create_table_artifact(
            night_report.class_table(found), key="scoring-classes", description="Predictions by class"
        )
        create_table_artifact(
            night_report.reason_table(found), key="scoring-reasons", description="Why images got no prediction"
        )
        for link, text, key in ((report, "HTML report", "scoring-report"), (docs, "Data Docs", "scoring-data-docs")):
            if link and link.startswith("http"):
                create_link_artifact(link, text, key=key, description=text)


@dataclass(frozen=True, slots=True)
class Report:
    """What a night's report was rendered from, so that it can be rendered again with heat maps."""

    found: RunFigures
    sheets: ContactSheets
    pictures: dict[int, Thumbnail]
    docs_key: str | None


def write_comparison(store: Store, settings: Settings, day: date, evidence: ComparisonEvidence) -> str:
    """Render the comparison report and store it under a day; return its key."""
    from tasks.retraining import report as comparison_report  # imports Matplotlib, which a night does not need

    html = comparison_report.render(evidence, settings.timezone)
    return comparison_report.publish(store, day, evidence.retraining_id, html)


def write_cards(store: Store, settings: Settings, evidence: ComparisonEvidence) -> None:
    """Render and store the cards of all compared models, with the figures of this comparison."""
    from tasks.retraining import model_card

    for model in evidence.models:
        card = model_card.of_comparison(evidence, model)
        model_card.publish(store, model.metadata.model_version, model_card.render(card, settings.timezone))


def show_comparison(
    settings: Settings, evidence: ComparisonEvidence, report_key: str | None, card_keys: Mapping[str, str] | None = None
) -> None:
    """Show the decision, the models side by side, the gate's checks and the link to the report in the Prefect UI."""
    from tasks.retraining import summary as comparison_summary

    report = publishing.link(settings, report_key) if report_key else None
    cards = {version: publishing.link(settings, key) for version, key in (card_keys or {}).items()}
    decision = comparison_summary.summary_markdown(evidence, report, cards)
    with at_once():
        create_markdown_artifact(decision, key="retraining-decision", description="What the gate decided, and why")
        for key, table, description in (
            ("retraining-models", comparison_summary.side_by_side(evidence), "The models side by side, with intervals"),
            ("retraining-checks", comparison_summary.checks_table(evidence), "What the gate asks, and what it found"),
        ):
            if table:
                create_table_artifact(table, key=key, description=description)
        if report and report.startswith("http"):
            create_link_artifact(report, "Comparison report", key="retraining-report", description="Comparison report")
