"""Data Docs: pages that show what the checklist found in a run.

Data Docs are Great Expectations' own pages without what they fetch from other servers (styles, scripts, a logo): they
open on a network without internet, and opening one tells nobody. What remains is text and tables.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, cast

from tasks.pages import templating

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tasks.validation.verdicts import ShardVerdicts

DOCS_SHARDS: Final = 20
"""Shards shown in Data Docs: a page each, so this bounds a long night's memory and upload."""

# What Great Expectations' pages fetch from elsewhere or need it for, and their links up from a deep folder.
_ELSEWHERE: Final = re.compile(r"<(script|style|footer)\b.*?</\1>|<(link|img)\b[^>]*>", re.DOTALL)
_LINK_UP: Final = re.compile(r'href="(\.\./)+')
_LINK_TO_SUITE: Final = re.compile(r'href="expectations/[^"]*"')


def keep_for_docs(kept: Sequence[ShardVerdicts], new: ShardVerdicts) -> list[ShardVerdicts]:
    """Return what is worth showing of a run so far: at most `DOCS_SHARDS` shards, those with most bad images first.

    A flow calls it after each shard, so that a long night does not hold every shard's results.
    """
    return sorted([*kept, new], key=lambda shard: (-shard.bad, shard.shard))[:DOCS_SHARDS]


def build_data_docs(results: Sequence[ShardVerdicts], folder: Path, shards_in_run: int | None = None) -> Path:
    """Write a run's Data Docs: an index, the checklist, and a page for each shard. They name images by id only.

    Args:
        results: the shards to show; of more than `DOCS_SHARDS`, those with most bad images.
        folder: where to write; made where it is missing.
        shards_in_run: how many shards the run had, where `results` are a choice of them.

    Returns:
        Path of index.html, whose links are relative.
    """
    shown: list[ShardVerdicts] = []
    for shard in results:
        shown = keep_for_docs(shown, shard)
    shown = [shard for shard in shown if shard.verdicts]
    templates = templating.environment()
    style = templates.get_template("data_docs_style.html").render()
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in _pages(shown, style):
        (folder / name).write_text(page, encoding="utf-8")
    index = folder / "index.html"
    index.write_text(templates.get_template("data_docs.html").render(_summary(shown, shards_in_run)), encoding="utf-8")
    return index


def _pages(shown: Sequence[ShardVerdicts], style: str) -> Iterator[tuple[str, str]]:
    if not shown:
        return
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    renderer, view = ValidationResultsPageRenderer(run_info_at_end=True), cast("Any", DefaultJinjaPageView())
    for shard in shown:
        document = renderer.render(_by_check(shard.result))
        page = _ELSEWHERE.sub("", view.render(document, show_how_to_buttons=False))
        page = _LINK_TO_SUITE.sub('href="index.html#checklist"', _LINK_UP.sub('href="', page))
        yield _page(shard), page.replace("</head>", f"<style>{style}</style></head>")


def _page(shard: ShardVerdicts) -> str:
    return f"shard-{shard.shard}.html"


def _by_check(result: Any) -> Any:
    """Return a copy of a result whose pages are grouped by check, in the checklist's order, not by column name."""
    copied = copy.deepcopy(result)
    for outcome in copied.results:
        config = outcome.expectation_config
        config.kwargs["column"] = f"{config.meta['place']:02} {config.meta['check']}"
    return copied


def _summary(shown: Sequence[ShardVerdicts], shards_in_run: int | None) -> dict[str, Any]:
    checks: dict[str, dict[str, Any]] = {}
    for shard in shown[:1]:
        for outcome in sorted(shard.result.results, key=lambda outcome: outcome.expectation_config.meta["place"]):
            meta = outcome.expectation_config.meta
            check = checks.setdefault(meta["check"], {"name": meta["check"], "words": meta["words"], "thresholds": []})
            check["thresholds"].append(meta["threshold"])
    rows = []
    for shard in shown:
        failed = Counter(name for verdict in shard.verdicts for name in verdict.failed)
        counts = {"images": len(shard.verdicts), "bad": shard.bad, "failed": [failed[name] for name in checks]}
        rows.append({"number": shard.shard, "page": _page(shard), **counts})
    return {
        "checks": list(checks.values()),
        "shards": rows,
        "images": sum(len(shard.verdicts) for shard in shown),
        "bad": sum(shard.bad for shard in shown),
        "left_out": (shards_in_run or len(shown)) - len(shown),
    }
