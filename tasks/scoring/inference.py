"""Inference: turn one shard's verdicts and probabilities into results to commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tasks.scoring.predictions import ImageResult
from tasks.validation.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.serving.runtime import Runtime
    from tasks.radiographs.fetching import ScoringInput
    from tasks.validation.verdicts import Verdict

NOT_FINITE: Final = Reason("the model's answer was not finite")


def unfetched(intakes: Sequence[ScoringInput]) -> list[ImageResult]:
    """Return results for the images that could not be fetched."""
    return [ImageResult(one.image_id, "failed", (Reason(one.failure),)) for one in intakes if one.failure is not None]


def quarantined(intakes: Sequence[ScoringInput], verdicts: Sequence[Verdict]) -> list[ImageResult]:
    """Return results for the images that failed an expectation."""
    measured = {one.image_id: one.measurement for one in intakes}
    return [
        ImageResult(one.image_id, "quarantined", one.reasons, measured[one.image_id])
        for one in verdicts
        if not one.accepted
    ]


def score(intakes: Sequence[ScoringInput], runtime: Runtime, known_content: set[str]) -> list[ImageResult]:
    """Score accepted images; identical contents are scored once.

    Args:
        intakes: accepted images, in the order of their ids.
        runtime: the loaded model.
        known_content: sha256 of contents that already have a prediction.

    Returns:
        A result for each image. An image whose content is known or appeared earlier in the shard has no
        probabilities: the commit marks it as a duplicate. An image with a non-finite answer is `failed`.
    """
    seen: set[str] = set()
    refused: set[str] = set()
    to_score: list[ScoringInput] = []
    repeated: list[ScoringInput] = []
    results: list[ImageResult] = []
    for one in intakes:
        content = _content(one)
        if content in known_content:
            results.append(ImageResult(one.image_id, "scored", measurement=one.measurement))
        elif content in seen:
            repeated.append(one)
        else:
            seen.add(content)
            to_score.append(one)
    if not to_score:
        return results
    answers = runtime.predict(np.stack([one.pixels for one in to_score if one.pixels is not None]))
    for one, answer in zip(to_score, answers, strict=True):
        if np.isfinite(answer).all():
            label = runtime.classes[int(answer.argmax())]
            results.append(
                ImageResult(
                    one.image_id,
                    "scored",
                    measurement=one.measurement,
                    predicted_class=label,
                    probabilities=tuple(float(value) for value in answer),
                )
            )
        else:
            repeated.append(one)
            refused.add(_content(one))
    for one in repeated:
        if _content(one) in refused:
            results.append(ImageResult(one.image_id, "failed", (NOT_FINITE,), one.measurement))
        else:
            results.append(ImageResult(one.image_id, "scored", measurement=one.measurement))
    return results


def _content(accepted: ScoringInput) -> str:
    if accepted.measurement is None or accepted.measurement.sha256 is None or accepted.pixels is None:
        raise ValueError(f"image {accepted.image_id} was accepted without pixels")
    return accepted.measurement.sha256
