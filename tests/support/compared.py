"""A retraining's evidence for tests of the pages about it: simulated answers, judged by the real gate."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from models.evaluation.test_set import TestSet
from models.gate.decision import Contender, Gate, decide
from models.phantoms.phantom import CLASSES
from models.radiographs.preprocessing import PreprocessingSpec
from models.serving.artifact import ArtifactMetadata
from tasks.datasets.dataset import SplitFacts
from tasks.retraining.evidence import ComparisonEvidence, DataFacts, ModelEvidence, rows_to_explain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

N = 150
SECRET = "DOE^JANE"  # noqa: S105 - what a patient's id may hold and no reader may see
GATE = Gate(resamples=100)
CHAMPION = "compact-cnn-20260101T000000Z-aaaaaaaa"
CHALLENGER = "compact-cnn-20260601T000000Z-bbbbbbbb"
IMAGES = np.random.default_rng(0).integers(0, 255, (N, 32, 32, 1), dtype=np.uint8)
TEST = TestSet(
    labels=np.arange(N) % 3,
    patients=tuple(f"{SECRET} {row // 2}" for row in range(N)),
    classes=CLASSES,
    contents=tuple(f"{row:08x}{'c0ffee00' * 7}" for row in range(N)),
    subgroups={
        "sex": tuple("FM"[row % 2] for row in range(N)),
        "site": tuple("small" if row < 4 else None for row in range(N)),
    },
)
HISTORY = [
    {"loss": 1 / epoch, "accuracy": 1 - 0.5 / epoch, "val_loss": 1.2 / epoch, "val_accuracy": 0.9 - 0.5 / epoch}
    for epoch in range(1, 6)
]
DATA = DataFacts(
    splits={name: SplitFacts(N, N // 2, dict.fromkeys(CLASSES, N // 3)) for name in ("train", "validation", "test")},
    left_out={"lateral view": 7},
    near_duplicates=3,
    conflicts=4,
    sources={"radiology review": 3 * N},
    data_fingerprint="d" * 64,
    test_fingerprint="e" * 64,
)


def answers(right: float, seed: int = 1) -> NDArray[np.float32]:
    """Probabilities (N, 3) of a model that is right in such a share of each class, the easiest images first."""
    random = np.random.default_rng(seed)
    difficulty = np.random.default_rng(0).permuted(np.arange(N).reshape(-1, 3), axis=0).ravel() // 3 / (N // 3)
    said = np.where(difficulty < right, TEST.labels, (TEST.labels + 1) % 3)
    sure = np.where(said == TEST.labels, random.uniform(0.75, 0.99, N), random.uniform(0.45, 0.9, N))
    probabilities = np.repeat(((1 - sure) / 2)[:, None], 3, axis=1)
    probabilities[np.arange(N), said] = sure
    return probabilities.astype(np.float32)


def metadata(version: str, *, made: bool = False, **given: Any) -> ArtifactMetadata:
    """What is known of a model version."""
    known = {"training": {"seed": 3, "temperature": 1.25, "epochs_run": 5, "history": HISTORY}, "metrics": {}} | given
    return ArtifactMetadata(
        recipe="compact-cnn", classes=CLASSES, preprocessing=PreprocessingSpec(), data_fingerprint="d" * 64,
        code_version="1.2.3", made_data=made, model_version=version, created_at="2026-06-01T00:00:00+00:00",
        model_sha256=version[-8:] * 8, **known,
    )  # fmt: skip


def model(version: str, probabilities: NDArray[np.float32], *, made: bool = False) -> ModelEvidence:
    """One of the models compared, with pictures and heat maps."""
    y, x = np.mgrid[:7, :7] / 6
    heatmaps = dict.fromkeys(rows_to_explain(TEST, probabilities), x * y)
    return ModelEvidence(
        metadata=metadata(version, made=made), probabilities=probabilities, images=IMAGES, heatmaps=heatmaps
    )


def evidence(
    champion: float | None = 0.7, challengers: Sequence[float] = (0.9,), *, made: bool = False, **given: Any
) -> ComparisonEvidence:
    """A retraining of models that are right in so many cases; None: there is no champion."""
    reigning = model(CHAMPION, answers(champion), made=made) if champion is not None else None
    others = [
        model(f"{CHALLENGER[:-1]}{place}", answers(right, seed=2 + place), made=made)
        for place, right in enumerate(challengers)
    ]
    contenders = [
        Contender(
            model_version=one.metadata.model_version, model_sha256=one.metadata.model_sha256,
            probabilities=one.probabilities, milliseconds=6.0, artifact_bytes=5_000_000,
        )
        for one in ([reigning] if reigning else []) + others
    ]  # fmt: skip
    decision = decide(
        GATE, TEST, contenders[0] if reigning else None, contenders[1:] if reigning else contenders,
        {"the image's border": answers(0.4, seed=9)},
    )  # fmt: skip
    outcome = {"promote": "promoted", "keep": "kept", "ask": "waiting"}[decision.outcome]
    known = {"data": DATA, "gate": GATE, "outcome": outcome} | given
    return ComparisonEvidence(
        retraining_id=UUID(int=7), decided_at=datetime(2026, 6, 1, 23, 30, tzinfo=UTC), cause="schedule",
        code_version="1.2.3", decision=decision, test=TEST, champion=reigning, challengers=others,
        **known,
    )  # fmt: skip


class Page(HTMLParser):
    """Reads a page as a browser and a screen reader would: what it loads, and what is missing for those who listen."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.silent: list[str] = []
        """Pictures without words, and heads of tables that do not say what they are the head of."""
        self.ids: Counter[str] = Counter()
        self.pictures: Counter[str] = Counter()
        self.feed(html)
        self.text = html

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what matters of a tag."""
        given = {name: value or "" for name, value in attrs}
        loads = [given[name] for name in ("src", "srcset", "data", "xlink:href") if name in given]
        self.outside += [value for value in loads if not value.startswith(("data:image/", "#"))]
        self.outside += [tag] if tag in ("script", "link", "iframe", "object") else []
        if (tag == "img" and not given.get("alt")) or (tag == "th" and "scope" not in given):
            self.silent.append(self.get_starttag_text() or tag)
        if tag == "svg" and "aria-hidden" not in given and not given.get("aria-label"):
            self.silent.append(tag)
        self.ids.update([given["id"]] if "id" in given else [])
        self.pictures[tag] += 1
