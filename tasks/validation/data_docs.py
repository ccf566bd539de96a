"""Data Docs: pages that show what the checklist found in a run.

These are Great Expectations' own pages without the styles, scripts and logo that they load from other servers. So they
open on a network without internet, and opening one contacts no server. What remains is text and tables.
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
"""Maximum number of shards in Data Docs. Each has a page, so this bounds a long night's memory and upload."""

# Great Expectations' pages load these elements from elsewhere or need them for that, and link up from a deep folder.
_EXTERNAL: Final = re.compile(r"<(script|style|footer)\b.*?</\1>|<(link|img)\b[^>]*>", re.DOTALL)
_LINK_UP: Final = re.compile(r'href="(\.\./)+')
_LINK_TO_SUITE: Final = re.compile(r'href="expectations/[^"]*"')


def keep_for_docs(kept: Sequence[ShardVerdicts], new: ShardVerdicts) -> list[ShardVerdicts]:
    """Return the shards worth showing so far: at most `DOCS_SHARDS`, those with the most bad images first.

    The flow calls it after each shard, so that a long night does not keep every shard's results in memory.
    """
    return sorted([*kept, new], key=lambda shard: (-shard.bad, shard.shard))[:DOCS_SHARDS]


def build_data_docs(results: Sequence[ShardVerdicts], folder: Path, shards_in_run: int | None = None) -> Path:
    """Write a run's Data Docs: an index with the checklist, and a page for each shard. They name images by id only.

    Args:
        results: the shards to show; if there are more than `DOCS_SHARDS`, those with the most bad images are shown.
        folder: where to write; created if missing.
        shards_in_run: how many shards the run had, if `results` are only some of them.

    Returns:
        Path of index.html; its links are relative.
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
        page = _EXTERNAL.sub("", view.render(document, show_how_to_buttons=False))
        page = _LINK_TO_SUITE.sub('href="index.html#checklist"', _LINK_UP.sub('href="', page))
        yield _page(shard), page.replace("</head>", f"<style>{style}</style></head>")


def _page(shard: ShardVerdicts) -> str:
    return f"shard-{shard.shard}.html"


def _by_check(result: Any) -> Any:
    """Return a copy of a result whose page is grouped by check, in checklist order, instead of by column name."""
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
