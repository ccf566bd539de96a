"""The comparison report of a retraining: what the gate decided and why, and all that a person needs to disagree.

The report is one self-contained HTML page without scripts. It shows radiographs, so it is patient data and is stored
with the bucket's other patient data; images are named by the first digits of their content's hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from models.plots import pictures
from tasks.pages.model_figures import (
    CLASS_ORDER,
    HASH_SHOWN,
    MINUS,
    environment,
    interval_text,
    made_warning,
    metric_label,
)
from tasks.pages.publishing import REPORTS, content_type
from tasks.retraining.evidence import Case, cases, mistakes
from tasks.retraining.verdict import OUTCOMES, check_rows, headline, names, order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from uuid import UUID

    import numpy as np
    from numpy.typing import NDArray

    from infra.storage import Store
    from tasks.retraining.evidence import ComparisonEvidence, ModelEvidence

    View = dict[str, Any]


def render(evidence: ComparisonEvidence, timezone: str = "UTC") -> str:
    """Return the report of a retraining as one HTML page.

    Args:
        evidence: the decision and what it is based on.
        timezone: the time zone of the times shown.
    """
    models = views(evidence)
    champion = next((model for model in models if model["champion"]), None)
    challengers = [model for model in models if not model["champion"]]
    decision = evidence.decision
    primary = evidence.gate.primary
    return (
        environment()
        .get_template("comparison.html")
        .render(
            evidence=evidence,
            decision=decision,
            headline=headline(evidence),
            outcome=OUTCOMES.get(evidence.outcome, evidence.outcome),
            state=evidence.outcome,
            warning=made_warning(
                model=any(model.metadata.made_data for model in evidence.models), data=bool(evidence.data.made)
            ),
            test=evidence.test,
            patients=len(set(evidence.test.patients)),
            classes=evidence.test.classes,
            primary=primary,
            models=models,
            champion=champion,
            challengers=challengers,
            lead=challengers[0] if challengers else None,
            order=order(primary),
            class_order=CLASS_ORDER,
            rocs=_rocs(models, evidence.test.classes),
            baselines=decision.baselines,
            zone=ZoneInfo(timezone),
            zone_name=timezone,
        )
    )


def views(evidence: ComparisonEvidence) -> list[View]:
    """Return what the page shows for each model, the champion first."""
    called = names(evidence)
    answers = {name: cases(evidence.test, model.probabilities) for name, model in called}
    return [
        _view(evidence, name, model, place, answers) for place, (name, model) in enumerate(called, _first(evidence))
    ]


def _first(evidence: ComparisonEvidence) -> int:
    """Reserve place 0 for the champion even if there is none, so that colours keep their meaning."""
    return 0 if evidence.champion else 1


def _view(
    evidence: ComparisonEvidence, name: str, model: ModelEvidence, place: int, answers: Mapping[str, list[Case]]
) -> View:
    from models.plots import curves as plots

    version, metadata = model.metadata.model_version, model.metadata
    champion = model is evidence.champion
    figures = evidence.decision.figures.get(version)
    comparison = None if champion else evidence.decision.comparisons.get(version)
    others = [other for other in answers if other != name]
    other = others[0] if others else None
    places = {name: place for place, name in enumerate(answers, _first(evidence))}
    mark = f"m{place}"
    wrong = mistakes(evidence.test, model.probabilities)
    return {
        "name": name,
        "said": _name_in_sentence(name),
        "place": place,
        "champion": champion,
        "version": version,
        "metadata": metadata,
        "figures": figures,
        "comparison": comparison,
        "checks": check_rows(evidence.decision.checks.get(version, ())),
        "forest": _forest(comparison, evidence, name, place) if comparison else None,
        "reliability": plots.reliability_plot(
            figures["reliability"], place, f"Reliability diagram of {_name_in_sentence(name)}", f"{mark}-reliability"
        )
        if figures
        else None,
        "curves": [
            plots.learning_curve(
                model.history, measure, place, f"{measure.capitalize()} of {_name_in_sentence(name)} over the epochs",
                f"{mark}-{measure}",
            )
            for measure in ("loss", "accuracy")
        ]
        if model.history
        else [],
        "mistakes": sum(not case.right for case in answers[name]),
        "gallery": [_exhibit(evidence, model, case, answers.get(other) if other else None) for case in wrong],
        "other": {"said": _name_in_sentence(other), "place": places[other]} if other else None,
        "explained": [
            _exhibit(evidence, model, case, None)
            for case in cases(evidence.test, model.probabilities)
            if case.row in model.heatmaps
        ],
    }  # fmt: skip


def _name_in_sentence(name: str) -> str:
    """Return a model's name as used inside a sentence: the champion, the challenger, challenger A."""
    return f"{name[0].lower()}{name[1:]}" if " " in name else f"the {name.lower()}"


def _exhibit(evidence: ComparisonEvidence, model: ModelEvidence, case: Case, other: Sequence[Case] | None) -> View:
    """Return one image with the models' answers to it."""
    picture = _picture(model, case.row)
    heat = model.heatmaps.get(case.row)
    return {
        "case": case,
        "name": evidence.test.contents[case.row][:HASH_SHOWN],
        "other": other[case.row] if other else None,
        "photograph": pictures.radiograph_jpeg(picture) if picture is not None else None,
        "overlay": pictures.heat_overlay_jpeg(picture, heat) if picture is not None and heat is not None else None,
    }


def _picture(model: ModelEvidence, row: int) -> NDArray[np.uint8] | None:
    """Return the preprocessed image; None if it is missing."""
    try:
        return model.images[row]
    except (KeyError, IndexError):
        return None


def _forest(comparison: Mapping[str, Any], evidence: ComparisonEvidence, name: str, place: int) -> list[bytes]:
    """Draw a challenger's paired differences as forest plots: one for higher-is-better figures, one for lower."""
    from models.evaluation.metrics import LOWER_IS_BETTER
    from models.plots import curves as plots

    primary = evidence.gate.primary
    found = {metric: (metric_label(metric), comparison["metrics"].get(metric)) for metric in order(primary)}
    for one in evidence.test.classes:
        for metric in ("sensitivity", "specificity", "auc"):
            found[f"{metric} {one}"] = (
                f"{metric_label(metric)}, {one}",
                comparison["per_class"].get(one, {}).get(metric),
            )
    drawn = []
    for part, less, axis in (
        ("more", False, f"challenger {MINUS} champion, more is better: right of zero the challenger is better"),
        ("less", True, f"challenger {MINUS} champion, less is better: left of zero the challenger is better"),
    ):
        rows = [
            plots.Difference(label, figure["value"], figure["low"], figure["high"], metric == primary)
            for metric, (label, figure) in found.items()
            if (metric in LOWER_IS_BETTER) is less and figure and None not in (figure["value"], figure["low"])
        ]
        if rows:
            said = "; ".join(f"{label} {interval_text(figure, signed=True)}" for label, figure in found.values())
            alt = f"Paired differences, {_name_in_sentence(name)} minus the champion: {said}"
            drawn.append(plots.forest_plot(rows, alt, axis, place, f"m{place}-{part}"))
    return drawn


def _rocs(models: Sequence[View], classes: Sequence[str]) -> list[View]:
    """Draw one plot per class with the ROC curves of all models."""
    from models.plots import curves as plots

    drawn = []
    for place, name in enumerate(classes):
        curves = [
            plots.RocCurve(model["name"], model["place"], points, model["figures"]["per_class"][name]["auc"]["value"])
            for model in models
            if model["figures"] and (points := model["figures"]["roc"].get(name))
        ]
        if curves:
            alt = f"ROC curves for {name} against the rest: " + "; ".join(
                f"{_name_in_sentence(curve.name)} {curve.area:.3f}" for curve in curves if curve.area is not None
            )
            drawn.append({"class": name, "svg": plots.roc_plot(curves, alt, f"roc-{place}")})
    return drawn


def key(day: date, retraining_id: UUID) -> str:
    """Return the object key of a retraining's report."""
    return f"{REPORTS}retraining/{day:%Y-%m-%d}/{retraining_id}/report.html"


def publish(store: Store, day: date, retraining_id: UUID, html: str) -> str:
    """Write the report to the bucket, replacing an earlier one.

    Args:
        store: the bucket.
        day: the day of the decision, in the site's time zone.
        retraining_id: id of the retraining.
        html: the page from `render`.

    Returns:
        Its key.

    Raises:
        StorageError: the store refuses or cannot be reached.
    """
    report_key = key(day, retraining_id)
    store.write(report_key, html.encode(), content_type(report_key))
    return report_key
