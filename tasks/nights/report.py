"""Reporting: what a run did, for people: the texts in Prefect, the HTML report, and the keys of both.

No text here contains an object key, since keys may contain identifiers; images are named by their id. The report shows
radiographs, so it is patient data and is stored with the bucket's other patient data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from models.vocabulary import NORMAL
from tasks.pages import templating
from tasks.pages.publishing import REPORTS, content_type
from tasks.pages.wording import counted
from tasks.radiographs.thumbnails import HeatMaps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from uuid import UUID

    from jinja2 import Environment

    from infra.storage import Store
    from tasks.nights.figures import ContactSheets, ReasonFigures, RunFigures
    from tasks.radiographs.thumbnails import Thumbnail
    from tasks.scoring.runs import Counts

REASONS_NAMED: Final = 4
"""How many reasons the headline names, most frequent first."""
STATE_WORDS: Final = {
    "completed": "published",
    "held": "held, nothing published",
    "failed": "failed, nothing published",
    "crashed": "stopped without a word",
    "running": "running",
}


@dataclass(frozen=True, slots=True)
class Links:
    """A report's links: addresses, or None if there is nothing to open."""

    data_docs: str | None = None
    flow_run: str | None = None


def headline(figures: RunFigures) -> str:
    """Say in one sentence what happened: the message of the run's final state and its row."""
    counts, outcome = figures.counts, figures.outcome
    if outcome.state == "failed":
        so_far = f"; {counts.scored:,} of {counts.discovered:,} images were scored before" if counts.discovered else ""
        return f"failed after {duration(figures.seconds)}: {outcome.because}{so_far}, nothing published"
    if not counts.discovered:
        aside = f"; {counted(outcome.skipped, 'object')} skipped by suffix" if outcome.skipped else ""
        return f"nothing new to score, done in {duration(figures.seconds)}{aside}"
    rate = f" ({figures.images_per_second:.0f} img/s)" if figures.images_per_second else ""
    classes = ", ".join(f"{one.images:,} {one.name}" for one in figures.classes)
    scored = f"scored {counts.scored:,} of {counts.discovered:,} in {duration(figures.seconds)}{rate}"
    scored += f" with {figures.model.version}" if figures.model.version else ""
    scored += " (trained on made data)" if figures.model.made_data else ""
    scored += f": {classes}" if counts.scored else ""
    earlier = counts.discovered - counts.pending - figures.own
    parts = [scored, _not_scored(counts, figures.quarantine)]
    parts += [f"{earlier:,} of them were decided by an earlier run that stopped"] if earlier else []
    text = "; ".join(parts)
    return f"held, nothing published: {outcome.because}; {text}" if outcome.state == "held" else text


def _not_scored(counts: Counts, quarantine: tuple[ReasonFigures, ...]) -> str:
    first = sorted((reason for reason in quarantine if reason.first), key=lambda reason: -reason.first)
    named = [f"{reason.first:,} {reason.name}" for reason in first[:REASONS_NAMED]]
    others = sum(reason.first for reason in first[REASONS_NAMED:])
    why = f" ({', '.join([*named, *([f'{others:,} other'] if others else [])])})" if named else ""
    duplicates = "duplicate" if counts.duplicate == 1 else "duplicates"
    text = f"{counts.quarantined:,} quarantined{why}, {counts.failed:,} failed, {counts.duplicate:,} {duplicates}"
    return text + (f", {counts.pending:,} UNDECIDED" if counts.pending else "")


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: 41 s, 3 min 05 s, 2 h 10 min."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    if minutes:
        return f"{minutes} min {left:02d} s"
    return f"{left} s" if left else "under 1 s"


def made_data_warning(figures: RunFigures) -> str | None:
    """Return the warning for the top of the page if made data is involved; None if all data is real."""
    total, made = figures.counts.discovered, figures.made
    if figures.model.made_data and made == total:
        return "Made data: phantoms, scored by a model trained on phantoms. Nothing here is about a patient."
    if figures.model.made_data:
        real = figures.counts.scored - figures.made_scored
        scored = f"{real:,} of the images that it scored are real" if real else "all that it scored is made data too"
        return f"This model was trained on made data: its word on a real radiograph means nothing ({scored})."
    if made:
        return f"{made:,} of {total:,} images are made data (phantoms), not patients."
    return None


def class_table(figures: RunFigures) -> list[dict[str, Any]]:
    """Return one row per class, for a Prefect table artifact."""
    scored = sum(one.images for one in figures.classes)
    return [
        {
            "class": one.name,
            "images": one.images,
            "share": f"{one.images / scored:.1%}" if scored else "",
            "mean top probability": round(one.mean_top_probability, 3) if one.mean_top_probability is not None else "",
        }
        for one in figures.classes
    ]


def reason_table(figures: RunFigures) -> list[dict[str, Any]]:
    """Return one row per reason why images got no prediction, for a Prefect table artifact."""
    return [
        {
            "state": reason.state,
            "reason": reason.name,
            "images": reason.images,
            "expected": reason.words or "",
            "for example": reason.example or "",
        }
        for reason in figures.reasons
    ]


def summary_markdown(figures: RunFigures, report_link: str | None, docs_link: str | None) -> str:
    """Return the summary for a Prefect Markdown artifact."""
    counts, warning = figures.counts, made_data_warning(figures)
    text = headline(figures)
    lines = [f"# Night of {figures.night:%-d %B %Y}: {STATE_WORDS[figures.outcome.state]}"]
    lines += [f"> ⚠️ **{warning}**"] if warning else []
    lines += [text[0].upper() + text[1:] + "."]
    lines += [f"- {note}" for note in figures.outcome.notes]
    lines.append(
        "| discovered | scored | quarantined | failed | duplicate | skipped by suffix |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: |\n"
        f"| {counts.discovered:,} | {counts.scored:,} | {counts.quarantined:,} | {counts.failed:,} "
        f"| {counts.duplicate:,} | {figures.outcome.skipped:,} |"
    )
    links = [_markdown_link("Report", report_link), _markdown_link("Data Docs of the validation", docs_link)]
    lines += [" · ".join(link for link in links if link)]
    lines += [f"Run `{figures.run_id}`, code `{figures.code_version}`. Research use, not for diagnosis."]
    return "\n\n".join(line for line in lines if line) + "\n"


def _markdown_link(text: str, address: str | None) -> str:
    if address is None:
        return ""
    return f"[{text}]({address})" if address.startswith("http") else f"{text}: `{address}`"


def render(
    figures: RunFigures,
    sheets: ContactSheets,
    pictures: Mapping[int, Thumbnail],
    links: Links,
    timezone: str = "UTC",
    heat: HeatMaps | None = None,
) -> str:
    """Return the report as one self-contained HTML page without scripts.

    Args:
        figures: the run's figures.
        sheets: the images to show.
        pictures: their thumbnails by image id; a missing one is shown as an empty frame.
        links: links to further pages.
        timezone: the time zone of the times shown.
        heat: the heat maps of the images shown, if they have been computed.
    """
    return (
        _environment()
        .get_template("report.html")
        .render(
            figures=figures,
            counts=figures.counts,
            model=figures.model,
            outcome=figures.outcome,
            state=STATE_WORDS[figures.outcome.state],
            headline=headline(figures),
            warning=made_data_warning(figures),
            colours=_colours(figures),
            sheets=sheets,
            pictures=pictures,
            links=links,
            zone=ZoneInfo(timezone),
            zone_name=timezone,
            heat=heat or HeatMaps({}),
        )
    )


@cache
def _environment() -> Environment:
    environment = templating.environment()
    environment.filters |= {
        "percent": _percent,
        "duration": duration,
        "web": _is_web,
    }
    return environment


def _is_web(address: str | None) -> bool:
    return address is not None and address.startswith(("http://", "https://"))


def _percent(share: float) -> str:
    """Return a share as a percentage that is 0 % only for none and 100 % only for all."""
    if 0 < share < 0.001:  # noqa: PLR2004 - rounds to 0.0 %
        return "< 0.1 %"
    if 0.999 < share < 1:  # noqa: PLR2004 - rounds to 100 %
        return "> 99.9 %"
    return f"{share:.1%}".replace("%", " %") if 0 < share < 1 else f"{share:.0%}".replace("%", " %")


def _colours(figures: RunFigures) -> dict[str, str]:
    """Return a CSS class for each predicted class: strong colours for findings, a quiet one for the normal class."""
    findings = [one.name for one in figures.classes if one.name != NORMAL]
    return {name: f"finding-{place % 4}" for place, name in enumerate(findings)} | {NORMAL: "normal"}


def folder(night: date, run_id: UUID) -> str:
    """Return the prefix under which everything about a run is stored."""
    return f"{REPORTS}{night:%Y-%m-%d}/{run_id}/"


def publish(store: Store, night: date, run_id: UUID, html: str) -> str:
    """Write the report to the bucket, replacing an earlier one.

    Returns:
        Its key.

    Raises:
        StorageError: the store refuses or cannot be reached.
    """
    key = folder(night, run_id) + "report.html"
    store.write(key, html.encode(), content_type(key))
    return key
