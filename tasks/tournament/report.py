"""A tournament's report: one HTML page that needs no script and no other file. It shows no radiograph."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from models.recipes.student_reports import PUBLISHED_SYSTEMS as PUBLISHED
from tasks.pages.model_figures import environment, made_warning, p_value
from tasks.pages.publishing import REPORTS, content_type
from tasks.tournament import ranking
from tasks.tournament.baselines import METHODS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from uuid import UUID

    from infra.storage import Store
    from tasks.tournament.ranking import RankedRecipe, Ranking, Volatility

CONFUSIONS: Final = 6
"""Recipes whose confusion matrix is shown at once; the others are one click away."""


def render(tables: Sequence[Ranking], volatile: Sequence[Volatility] = (), timezone: str = "UTC") -> str:
    """Return the page.

    Args:
        tables: one ranking for each set.
        volatile: the recipes across the sets, the least volatile one first.
        timezone: time zone of the times on the page.
    """
    return (
        environment()
        .get_template("tournament.html")
        .render(
            tables=[_view(table, number) for number, table in enumerate(tables)],
            volatile=volatile,
            sets=[table.name for table in tables],
            columns=ranking.COLUMNS,
            methods=METHODS,
            warning=made_warning(model=any(table.made for table in tables), data=False),
            now=datetime.now(UTC),
            zone=ZoneInfo(timezone),
            zone_name=timezone,
        )
    )


def publish(store: Store, day: date, run_id: UUID, html: str) -> str:
    """Write the page into the bucket; returns its key."""
    key = f"{REPORTS}{day:%Y-%m-%d}/{run_id}/tournament.html"
    store.write(key, html.encode(), content_type(key))
    return key


def _view(table: Ranking, number: int) -> dict[str, Any]:
    from models.evaluation.ranking import SIGNIFICANCE_LEVEL
    from models.plots import ranking as rank_plots

    def entry(name: str, metrics: Any, *, is_baseline: bool, significant: bool) -> rank_plots.RankedModel:
        figure = metrics["accuracy"]
        low, high = (figure["value"] if figure[edge] is None else figure[edge] for edge in ("low", "high"))
        return rank_plots.RankedModel(
            name, figure["value"], low, high, is_baseline=is_baseline, significant=significant
        )

    entries = [
        entry(
            row.recipe, row.figures["metrics"], is_baseline=False, significant=(row.p_value or 1) < SIGNIFICANCE_LEVEL
        )
        for row in table.rows
    ]
    entries += [
        entry(f"sees only {what}", found["metrics"], is_baseline=True, significant=False)
        for what, found in table.shortcuts.items()
    ]
    published = {one.recipe.name: one for one in PUBLISHED}
    chance = max(table.classes.values()) / table.images
    return {
        "table": table,
        "sentence": ranking.sentence(table),
        "chance": chance,
        "drawing": rank_plots.accuracy_plot(
            entries, chance, f"Accuracies of {len(table.rows)} recipes with 95 % intervals", f"set{number}"
        ),
        "rows": [_row(row, place, published) for place, row in enumerate(table.rows)],
        "pairs": [
            [None if other == one else (p_value(float(found)), bool(found < SIGNIFICANCE_LEVEL))
             for other, found in enumerate(row)]
            for one, row in enumerate(table.p_values)
        ],
        "classes": list(table.classes),
    }  # fmt: skip


def _row(row: RankedRecipe, place: int, published: dict[str, Any]) -> dict[str, Any]:
    report = published.get(row.recipe)
    return {
        "ranked": row,
        "name": row.recipe,
        "said": row.recipe,
        "place": 1,
        "figures": row.figures,
        "open": place < CONFUSIONS,
        "difference": ranking.difference(row),
        "significant": row.p_value is not None and ranking.is_significant(row.p_value),
        "published": dict(report.figures) if report else {},
        "published_classes": report.classes if report else None,
    }
