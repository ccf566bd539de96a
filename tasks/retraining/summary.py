"""A summary of the comparison for Prefect's pages: the decision's sentence, and the models side by side.

No text here names an image or a patient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.pages.model_figures import MINUS, RESEARCH, interval_text, made_warning, metric_label
from tasks.pages.wording import counted
from tasks.retraining.verdict import OUTCOMES, check_rows, headline, names, order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.retraining.evidence import ComparisonEvidence


def side_by_side(evidence: ComparisonEvidence) -> list[dict[str, Any]]:
    """Return one row per figure with all models' values and intervals, for a Prefect table artifact."""
    decision, primary = evidence.decision, evidence.gate.primary
    judged = {
        name: decision.figures[model.metadata.model_version]
        for name, model in names(evidence)
        if model.metadata.model_version in decision.figures
    }
    differences = {
        f"{name} {MINUS} champion": decision.comparisons[model.metadata.model_version]
        for name, model in names(evidence)
        if model is not evidence.champion and model.metadata.model_version in decision.comparisons
    }
    rows = [
        {"figure": metric_label(metric) + (" (decides)" if metric == primary else "")}
        | {name: interval_text(found["metrics"][metric]) for name, found in judged.items()}
        | {name: interval_text(found["metrics"][metric], signed=True) for name, found in differences.items()}
        for metric in order(primary)
    ]
    rows += [
        {"figure": f"{metric_label(metric)}, {one}"}
        | {name: interval_text(found["per_class"][one][metric]) for name, found in judged.items()}
        | {name: interval_text(found["per_class"][one][metric], signed=True) for name, found in differences.items()}
        for one in evidence.test.classes
        for metric in ("sensitivity", "specificity", "auc")
    ]
    return rows if judged else []


def checks_table(evidence: ComparisonEvidence) -> list[dict[str, Any]]:
    """Return the gate's checks of all challengers, for a Prefect table artifact; failed checks first."""
    said = {"yes": "✓ yes", "no": "✗ no", "ask": "? a person looks"}
    return [
        {"challenger": name, "passed": said[row["verdict"]]}
        | {column: row[column] for column in ("rule", "words", "measured", "limit")}
        for name, rows in _check_rows(evidence)
        for row in rows
    ]


def _check_rows(evidence: ComparisonEvidence) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return each challenger's name with its checks."""
    return [
        (name, check_rows(evidence.decision.checks.get(model.metadata.model_version, ())))
        for name, model in names(evidence)
        if model is not evidence.champion
    ]


def summary_markdown(
    evidence: ComparisonEvidence, report_link: str | None = None, card_links: Mapping[str, str] | None = None
) -> str:
    """Return the summary for a Prefect Markdown artifact; the decision comes first, in one sentence with its reason.

    Args:
        evidence: the decision and what it is based on.
        report_link: address of the full report, or its s3:// location if it has no web address.
        card_links: links to the models' cards by version, likewise.
    """
    warning = made_warning(
        model=any(model.metadata.made_data for model in evidence.models), data=bool(evidence.data.made)
    )
    outcome = OUTCOMES.get(evidence.outcome, evidence.outcome)
    lines = [f"# {headline(evidence)}", f"> ⚠️ **{warning}**" if warning else ""]
    lines += [f"Outcome: **{outcome}**." + _person(evidence)]
    patients = counted(len(set(evidence.test.patients)), "patient")
    lines += [f"Judged on {counted(len(evidence.test.labels), 'test image')} of {patients}; cause: {evidence.cause}."]
    links = card_links or {}
    lines += [
        "\n".join(
            f"- {name}: `{model.metadata.model_version}`{_card(links.get(model.metadata.model_version))}"
            for name, model in names(evidence)
        )
    ]
    several = len(evidence.challengers) > 1
    against = [
        (f"{name}, " if several else "") + f"{row['rule']}: {row['words']}"
        for name, rows in _check_rows(evidence)
        for row in rows
        if row["verdict"] != "yes"
    ]
    if against:
        lines += ["Not passed:\n\n" + "\n".join(f"- {line}" for line in against)]
    if evidence.failures:
        failed = "\n".join(f"- {recipe}: {why}" for recipe, why in evidence.failures.items())
        lines += [f"Not judged:\n\n{failed}"]
    if report_link:
        lines += [f"[Report]({report_link})" if report_link.startswith("http") else f"Report: `{report_link}`"]
    lines += [f"Retraining `{evidence.retraining_id}`, code `{evidence.code_version}`. {RESEARCH}"]
    return "\n\n".join(line for line in lines if line) + "\n"


def _person(evidence: ComparisonEvidence) -> str:
    by = f" By {evidence.approved_by}." if evidence.approved_by else ""
    return f"{by} {evidence.because}" if evidence.because else by


def _card(link: str | None) -> str:
    return f" ([card]({link}))" if link and link.startswith("http") else ""
