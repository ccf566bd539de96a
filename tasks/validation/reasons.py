"""Reasons why an image has no prediction: the expectation that it failed, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason in words; `expectation` is None if the image could not be fetched or scored."""

    words: str
    expectation: str | None = None


def reason_text(reasons: Iterable[Reason]) -> str:
    """Return reasons as one text, like Postgres's `cxr.reason_text`: "contrast: what was found; grey: ..."."""
    return "; ".join(f"{one.expectation}: {one.words}" if one.expectation else one.words for one in reasons)
