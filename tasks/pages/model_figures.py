"""Pages about models: labels for metrics, and how templates write figures, drawings and p-values."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from models.evaluation.metrics import HEADLINE_METRICS, PER_CLASS_METRICS
from tasks.pages import templating

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

ORDER: Final = (
    "balanced_accuracy", "accuracy", "macro_precision", "macro_f1", "macro_auc", "macro_pr_auc", "brier", "ece",
    "log_loss",
)  # fmt: skip
"""The order in which pages list the metrics of a whole model."""
CLASS_ORDER: Final = (
    "sensitivity", "specificity", "precision", "f1", "auc", "pr_auc", "sensitivity_at_95_specificity",
)  # fmt: skip
HINTS: Final = {
    "balanced_accuracy": "mean of the classes' sensitivities",
    "accuracy": "share of images predicted correctly",
    "macro_precision": "mean of the classes' precisions",
    "macro_f1": "mean of the classes' F1",
    "macro_auc": "mean over the classes, each against the rest",
    "macro_pr_auc": "mean over the classes, each against the rest",
    "brier": "squared error, 0 to 2; lower is better",
    "ece": "gap between confidence and accuracy; lower is better",
    "log_loss": "lower is better",
    "sensitivity": "share of the class's images that are found",
    "specificity": "share of other images not predicted as this class",
    "precision": "share of predictions of this class that are right",
    "auc": "against the rest",
}
MINUS: Final = "\N{MINUS SIGN}"
DASH: Final = "\N{EN DASH}"
HASH_SHOWN: Final = 8
RESEARCH: Final = "Research use, not for diagnosis."


def metric_label(metric: str) -> str:
    """Return a metric's name in words."""
    return (HEADLINE_METRICS | PER_CLASS_METRICS).get(metric, metric.replace("_", " "))


def value_text(value: float | None, *, signed: bool = False) -> str:
    """Return a value with three decimals and a typographic minus sign; a dash for None."""
    if value is None:
        return DASH
    return (f"{value:+.3f}" if signed else f"{value:.3f}").replace("-", MINUS)


def interval_text(figure: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    """Return a value with its interval on one line, such as 0.921 (0.893 to 0.945)."""
    if figure is None or figure.get("value") is None:
        return DASH
    value = value_text(figure["value"], signed=signed)
    if figure.get("low") is None or figure.get("high") is None:
        return value
    return f"{value} ({value_text(figure['low'], signed=signed)} to {value_text(figure['high'], signed=signed)})"


def made_warning(*, model: bool, data: bool) -> str | None:
    """Return the warning for the top of a page if made data is involved."""
    if model:
        return "Trained on made data (phantoms): nothing here is about a patient, and no figure applies to one."
    return "Some of the images are made data (phantoms), not patients." if data else None


@cache
def environment() -> Environment:
    """Return the Jinja environment for the pages about models."""
    made = templating.environment()
    made.filters |= {
        "drawing": lambda svg: Markup(svg.decode()),  # noqa: S704 - made by models.plots.curves, which escapes
        "value": value_text,
        "cell": _cell,
        "share": lambda share: f"{share:.0%}".replace("%", " %"),
        "words": metric_label,
        "p_value": p_value,
    }
    made.globals |= {"ORDER": ORDER, "CLASS_ORDER": CLASS_ORDER, "HINTS": HINTS, "RESEARCH": RESEARCH}
    return made


def p_value(value: float | None) -> str:
    """Return a p-value as journals print it."""
    if value is None:
        return "not computed"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"  # noqa: PLR2004 - the usual limit


def _cell(figure: Mapping[str, Any] | None, *, signed: bool = False) -> Markup:
    """A value with its interval below it, for a table cell."""
    if figure is None or figure.get("value") is None:
        return Markup('<span class="soft">{}</span>').format(DASH)
    value = value_text(figure["value"], signed=signed)
    if figure.get("low") is None or figure.get("high") is None:
        return Markup("{}").format(value)
    low, high = (value_text(figure[edge], signed=signed) for edge in ("low", "high"))
    return Markup("{}<small>{} to {}</small>").format(value, low, high)
