"""The model card of a version: what it is for, what it learned from, how good it is, and where not to trust it.

After Mitchell et al., Model Cards for Model Reporting, 2019: intended use, data, training, figures with intervals (also
for subgroups), limits. The page shows no image and names no patient.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from tasks.pages.model_figures import CLASS_ORDER, ORDER, environment, made_warning
from tasks.pages.publishing import REPORTS, content_type
from tasks.retraining.verdict import headline, order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra.storage import Store
    from models.serving.artifact import ArtifactMetadata
    from tasks.retraining.evidence import ComparisonEvidence, DataFacts, ModelEvidence

TRAINING_FACTS: Final = {
    "architecture": "Architecture",
    "parameters": "Parameters",
    "optimiser": "Optimiser",
    "learning_rate": "Learning rate, peak",
    "weight_decay": "Weight decay",
    "batch_size": "Batch size",
    "class_weights": "Class weights",
    "seed": "Seed",
    "epochs": "Epochs allowed",
    "epochs_run": "Epochs run",
    "best_epoch": "Epoch kept",
    "best_by": "chosen by",
    "patience": "Patience, epochs",
    "temperature": "Temperature",
    "calibration": "Calibration",
    "backend": "Backend",
    "precision": "Precision",
    "seconds": "Seconds",
    "images_per_s": "Images a second",
}
"""The facts about a training that a card shows if the artifact has them, with their labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardEvidence:
    """What a card says about one model version.

    `figures` are those on the frozen test set (`figures_with_intervals`). None: it has not been judged yet, and the
    card shows only the validation figures of its training. `data` is what it learned from, None if no longer known.
    `baselines` are the shortcut audit's figures, `sentence` is the decision's.
    """

    metadata: ArtifactMetadata
    data: DataFacts | None = None
    figures: Mapping[str, Any] | None = None
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sentence: str | None = None
    judged_at: datetime | None = None
    test_fingerprint: str | None = None
    primary: str = ORDER[0]


def of_comparison(evidence: ComparisonEvidence, model: ModelEvidence) -> CardEvidence:
    """Return what a retraining found out about one of its models.

    The data is left out for a model that was trained on other data, as most champions were.
    """
    same = evidence.data.data_fingerprint == model.metadata.data_fingerprint
    return CardEvidence(
        metadata=model.metadata,
        data=evidence.data if same else None,
        figures=evidence.decision.figures.get(model.metadata.model_version),
        baselines=evidence.decision.baselines,
        sentence=headline(evidence),
        judged_at=evidence.decided_at,
        test_fingerprint=evidence.data.test_fingerprint,
        primary=evidence.gate.primary,
    )


def render(evidence: CardEvidence, timezone: str = "UTC") -> str:
    """Return the card as one HTML page.

    Args:
        evidence: what is known about the model version.
        timezone: the time zone of the times shown.
    """
    metadata, data = evidence.metadata, evidence.data
    model = {"name": "The model", "said": "the model", "place": 0, "figures": evidence.figures}
    return (
        environment()
        .get_template("model_card.html")
        .render(
            evidence=evidence,
            metadata=metadata,
            data=data,
            figures=evidence.figures,
            models=[model],
            model=model,
            classes=metadata.classes,
            validation=metadata.metrics if evidence.figures is None else None,
            learned_from=_learned_from(metadata),
            warning=made_warning(model=metadata.made_data, data=bool(data and data.made)),
            order=order(evidence.primary),
            class_order=CLASS_ORDER,
            told=[
                (words, _fact_text(metadata.training[name]))
                for name, words in TRAINING_FACTS.items()
                if name in metadata.training
            ],
            notes=metadata.training.get("notes") or [],
            drawings=_drawings(evidence),
            created=_created(metadata),
            zone=ZoneInfo(timezone),
            zone_name=timezone,
        )
    )


def _learned_from(metadata: ArtifactMetadata) -> dict[str, int]:
    """Return the images in each split, as counted by the training itself."""
    found = metadata.metrics.get("splits")
    if not isinstance(found, dict):
        return {}
    return {name: split["images"] for name, split in found.items() if isinstance(split, dict) and "images" in split}


def _fact_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _created(metadata: ArtifactMetadata) -> datetime | None:
    try:
        when = datetime.fromisoformat(metadata.created_at)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _drawings(evidence: CardEvidence) -> dict[str, Any]:
    """Return the learning curves and, if there are test figures, ROC curves and a reliability diagram."""
    from models.plots import curves

    history: Sequence[Mapping[str, Any]] = evidence.metadata.training.get("history") or []
    figures = evidence.figures
    return {
        "learning": [
            curves.learning_curve(history, measure, 0, f"{measure.capitalize()} over the epochs", f"learning-{measure}")
            for measure in ("loss", "accuracy")
            if history
        ],
        "reliability": curves.reliability_plot(figures["reliability"], 0, "Reliability diagram") if figures else None,
        "roc": [
            (
                name,
                curves.roc_plot(
                    [curves.RocCurve("The model", 0, points, figures["per_class"][name]["auc"]["value"])],
                    f"ROC curve for {name} against the rest", f"roc-{place}",
                ),
            )
            for place, name in enumerate(figures["roc"])
            if (points := figures["roc"][name])
        ]
        if figures
        else [],
    }  # fmt: skip


def key(model_version: str) -> str:
    """Return the object key of a version's card."""
    return f"{REPORTS}models/{model_version}/card.html"


def publish(store: Store, model_version: str, html: str) -> str:
    """Write a card to the bucket, replacing an earlier one.

    Returns:
        Its key.

    Raises:
        StorageError: the store refuses or cannot be reached.
    """
    card_key = key(model_version)
    store.write(card_key, html.encode(), content_type(card_key))
    return card_key
