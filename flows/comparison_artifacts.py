"""What people see of a retraining: its report and the model cards in the bucket, and a summary in the Prefect UI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.artifacts import at_once
from tasks.pages import publishing
from tasks.retraining import model_card
from tasks.retraining import report as comparison_report
from tasks.retraining import summary as comparison_summary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from infra.settings import Settings
    from infra.storage import Store
    from tasks.retraining.evidence import ComparisonEvidence


def write_report(store: Store, settings: Settings, day: date, evidence: ComparisonEvidence) -> str:
    """Render the comparison report and store it under a day; returns its key."""
    html = comparison_report.render(evidence, settings.timezone)
    return comparison_report.publish(store, day, evidence.retraining_id, html)


def write_cards(store: Store, settings: Settings, evidence: ComparisonEvidence) -> None:
    """Render and store the cards of all models compared, with today's figures."""
    for model in evidence.models:
        card = model_card.of_comparison(evidence, model)
        model_card.publish(store, model.metadata.model_version, model_card.render(card, settings.timezone))


def show(
    settings: Settings, evidence: ComparisonEvidence, report_key: str | None, card_keys: Mapping[str, str] | None = None
) -> None:
    """Put the decision, the models side by side, the gate's checks and the link to the report into the UI."""
    report = publishing.link(settings, report_key) if report_key else None
    cards = {version: publishing.link(settings, key) for version, key in (card_keys or {}).items()}
    summary = comparison_summary.summary_markdown(evidence, report, cards)
    with at_once():
        create_markdown_artifact(summary, key="retraining-decision", description="What the gate decided, and why")
        for key, table, description in (
            ("retraining-models", comparison_summary.side_by_side(evidence), "The models side by side, with intervals"),
            ("retraining-checks", comparison_summary.checks_table(evidence), "What the gate asks, and what it found"),
        ):
            if table:
                create_table_artifact(table, key=key, description=description)
        if report and report.startswith("http"):
            create_link_artifact(report, "Comparison report", key="retraining-report", description="Comparison report")
