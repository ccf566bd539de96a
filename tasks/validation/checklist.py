"""Expectations: the checklist that a radiograph passes before it is scored, as one Great Expectations suite.

Read it from top to bottom: each check has a name (it appears in the reasons for quarantine), a description for
readers of the Data Docs, and rules, each with a sentence that says what was found instead. The ranges in the comments
were measured on 935 real chest radiographs (36 as they arrived, 899 resized to 512 pixels). Thresholds leave a margin
around them, because an image quarantined by mistake is a patient not scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from models.radiographs.radiograph import FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from models.radiographs.radiograph import Limits, Measurement

SUITE: Final = "radiographs"
NOT_AN_IMAGE: Final = "not an image"


@dataclass(frozen=True, slots=True)
class Rule:
    """One Great Expectations expectation, and a sentence for an image that breaks it.

    `found` is a format string over the image's measurements and the expectation's thresholds. A measurement that
    could not be taken is null, and never breaks a rule.
    """

    expectation: Any
    found: str

    @property
    def thresholds(self) -> dict[str, Any]:
        """The expectation's arguments that define what is accepted, by name."""
        names = ("min_value", "max_value", "value_set")
        known = {name: getattr(self.expectation, name, None) for name in names}
        return {name: value for name, value in known.items() if value is not None}

    @property
    def threshold(self) -> str:
        """What is accepted, in words."""
        known, subject = self.thresholds, self.expectation.column.replace("_", " ")
        if "value_set" in known:
            return f"{subject} is {' or '.join(str(value) for value in known['value_set'])}"
        words = {"at least": known.get("min_value"), "at most": known.get("max_value")}
        bounds = {word: bound for word, bound in words.items() if bound is not None}
        return f"{subject} is " + " and ".join(
            f"{word} {bound:,.0f}" if float(bound).is_integer() else f"{word} {bound:g}"
            for word, bound in bounds.items()
        )


@dataclass(frozen=True, slots=True)
class Check:
    """A line of the checklist. It is skipped for an image that fails a check in `unless`, which implies it."""

    name: str
    words: str
    rules: tuple[Rule, ...]
    unless: tuple[str, ...] = ()


def checklist(limits: Limits) -> tuple[Check, ...]:
    """Return the checks in the order in which reasons are listed. Imports Great Expectations, which takes seconds."""
    among, between = _expectations()
    return (
        Check(
            "decodable",
            "The file is whole: all of it decodes to pixels.",
            (Rule(among(column="decodable", value_set=[True]), "{problem}"),),
            unless=("format", "size"),  # a file rejected by its header is not decoded
        ),
        Check(
            "format",
            "The content, whatever the file's name says, is a PNG or a JPEG.",
            (Rule(among(column="content", value_set=list(FORMATS)), "{problem}"),),
        ),
        Check(
            "size",
            "Large enough to show the lungs, and within the limits on bytes and pixels.",
            (
                # Read from the header, before decoding, so that a decompression bomb is never decoded.
                Rule(
                    between(column="bytes", max_value=limits.max_bytes),
                    "the file has {bytes:,} bytes; at most {max_value:,.0f} are read",
                ),
                Rule(
                    between(column="pixels", max_value=limits.max_pixels),
                    "{width:,} x {height:,} are {pixels:,} pixels; at most {max_value:,.0f} are decoded",
                ),
                # Seen: 208 and more. Below 64, a rib is a pixel wide, and upscaling would invent detail.
                Rule(
                    between(column="shorter_side", min_value=64),
                    "it is {width} x {height} pixels; at least {min_value:.0f} on each side are expected",
                ),
            ),
        ),
        Check(
            "aspect",
            "Width to height is that of a chest, not of a strip or a banner.",
            # Seen: 0.78 to 1.68.
            (
                Rule(
                    between(column="width_to_height", min_value=0.4, max_value=2.5),
                    "width is {width_to_height:.2f} times the height; {min_value} to {max_value} is expected",
                ),
            ),
        ),
        Check(
            "bit-depth",
            "8 or 16 bits a channel: fewer lose the shades that lungs are made of.",
            (
                Rule(
                    among(column="bits_per_channel", value_set=[8, 16]),
                    "it has {bits_per_channel} bit(s) a channel; 8 or 16 are expected",
                ),
            ),
        ),
        Check(
            "not-blank",
            "The image is not one shade all over.",
            # Seen: 0.10 and more. Detector noise alone gives about 0.01.
            (
                Rule(
                    between(column="deviation_of_grey", min_value=0.012),
                    "the grey values vary by {deviation_of_grey:.3f} of the range (standard deviation); "
                    "at least {min_value:.3f} is expected",
                ),
            ),
        ),
        Check(
            "not-saturated",
            "Little is burnt to pure black or white. Black borders around the patient are usual, white ones are not.",
            (
                # Seen: up to 0.46, a tilted film on a black ground; a narrow film on a large plate gives 0.57.
                Rule(
                    between(column="share_of_black", max_value=0.65),
                    "{share_of_black:.0%} of the image is black; at most {max_value:.0%} is expected",
                ),
                # Seen: up to 0.16, an overexposed print. A scanned page of text has 0.7 and more.
                Rule(
                    between(column="share_of_white", max_value=0.5),
                    "{share_of_white:.0%} of the image is white; at most {max_value:.0%} is expected",
                ),
            ),
            unless=("bit-depth", "not-blank"),  # with two shades all is black or white; one shade is reported once
        ),
        Check(
            "contrast",
            "Air, soft tissue and bone differ: the 5th to the 95th percentile of grey spans a tenth of the range.",
            # Seen: 0.32 and more, a low-contrast print; a twelfth of a usual exposure gives 0.04.
            (
                Rule(
                    between(column="span_of_grey", min_value=0.10),
                    "the grey values span {span_of_grey:.2f} of the range; at least {min_value:.2f} is expected",
                ),
            ),
            unless=("not-blank",),
        ),
        Check(
            "grey",
            "Shades of grey, not a colour photograph. A coloured mark or a tinted film is accepted.",
            # Seen: up to 0.020, a warm scan; a blue film gives 0.06, muted photographs 0.11.
            (
                Rule(
                    between(column="distance_from_grey", max_value=0.08),
                    "the colour channels differ by {distance_from_grey:.2f} of the range; "
                    "at most {max_value:.2f} is expected",
                ),
            ),
        ),
        Check(
            "histogram",
            "Many shades, none of which dominates: not a drawing, a diagram or a page of text.",
            (
                # Seen: 5.19 bits and more, where 46 % is black (then 6.3); the 65 % of black allowed above leave 3.5.
                # Two-tone drawings have 0.7 to 1.0, pages of text 1.9 to 3.2.
                Rule(
                    between(column="bits_of_entropy", min_value=3.4),
                    "the shades of grey hold {bits_of_entropy:.1f} bits; at least {min_value:.1f} are expected",
                ),
                # Seen: up to 0.18, a collimated film whose border is dark grey. Two-tone drawings have 0.8.
                Rule(
                    between(column="share_of_commonest_grey", max_value=0.5),
                    "one shade of grey fills {share_of_commonest_grey:.0%} of the image; "
                    "at most {max_value:.0%} is expected",
                ),
            ),
            unless=("bit-depth", "not-blank"),
        ),
    )


@cache
def _expectations() -> tuple[Any, Any]:
    """Return two of Great Expectations' expectations that cache their configuration.

    The originals rebuild it ~160 times per evaluation, which is 40 % of a shard's validation (180 ms instead of 110).
    With the cache, an expectation must not change once it is in a suite.
    """
    gxe = import_module("great_expectations.expectations")
    return (
        _caching("ExpectMeasurementToBeInSet", gxe.ExpectColumnValuesToBeInSet),
        _caching("ExpectMeasurementToBeBetween", gxe.ExpectColumnValuesToBeBetween),
    )


def _caching(name: str, base: Any) -> Any:
    from pydantic.v1 import PrivateAttr

    def configuration(self: Any) -> Any:
        self._cached = self._cached or base.configuration.fget(self)
        return self._cached

    members = {
        "__module__": __name__,
        "__annotations__": {"_cached": Any},
        "_cached": PrivateAttr(default=None),
        "configuration": property(configuration),
    }
    return type(base)(name, (base,), members)


def row(measurement: Measurement, limits: Limits) -> dict[str, Any]:
    """Return the values that the rules and their sentences use, by name; None if not measured."""
    width, height = measurement.width, measurement.height
    # An empty or oversized file was not opened, so nothing is known about its content.
    opened = 0 < measurement.n_bytes <= limits.max_bytes
    return {
        "problem": measurement.problem,
        "width": width,
        "height": height,
        "decodable": measurement.decodable,
        "content": (measurement.format or NOT_AN_IMAGE) if opened else None,
        "bytes": measurement.n_bytes,
        "pixels": width * height if width and height else None,
        "shorter_side": min(width, height) if width and height else None,
        "width_to_height": measurement.aspect,
        "bits_per_channel": measurement.bit_depth,
        "deviation_of_grey": measurement.std,
        "share_of_black": measurement.black_share,
        "share_of_white": measurement.white_share,
        "span_of_grey": measurement.contrast,
        "distance_from_grey": measurement.colour,
        "bits_of_entropy": measurement.entropy,
        "share_of_commonest_grey": measurement.peak_share,
    }


def frame(image_ids: Sequence[int], rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Return a data frame of the columns that the rules read and image_id, one row per image.

    Numeric columns are float64 even if all values are missing (all files broken), so that Great Expectations can
    compare them.
    """
    import pandas as pd

    table = pd.DataFrame({name: [row[name] for row in rows] for name in columns})
    numbers = [name for name in columns if name not in ("content", "decodable")]
    return table.astype(dict.fromkeys(numbers, "float64")).assign(image_id=list(image_ids))
