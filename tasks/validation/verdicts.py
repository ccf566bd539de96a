"""Validation: check one shard's measurements against the expectations, and say which ones each image failed.

Great Expectations decides; this file turns its row-level results into verdicts in words. Great Expectations is imported
on first use, since importing it takes longer than an empty night.
"""

from __future__ import annotations

import gc
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from models.radiographs.radiograph import Measurement
from tasks.validation.checklist import SUITE, Check, Rule, checklist, frame, row
from tasks.validation.context import new_context, quiet_great_expectations
from tasks.validation.reasons import Reason, reason_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.radiographs.radiograph import Limits

_RESULT_FORMAT: Final = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": ["image_id"],
    "include_unexpected_rows": False,
    "return_unexpected_index_query": False,
}
_lock = threading.Lock()


class ValidationError(RuntimeError):
    """The suite could not be evaluated, so nothing is known about the images."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The checklist's verdict on one image: a reason for each failed expectation, none if it is accepted."""

    image_id: int
    reasons: tuple[Reason, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether no expectation failed."""
        return not self.reasons

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the failed expectations, in checklist order."""
        return tuple(one.expectation for one in self.reasons if one.expectation is not None)

    @property
    def reason(self) -> str:
        """The reasons as one text."""
        return reason_text(self.reasons)


@dataclass(frozen=True, slots=True)
class ShardVerdicts:
    """Verdicts in the order of the images given, and Great Expectations' own result for Data Docs."""

    shard: int
    verdicts: tuple[Verdict, ...]
    result: Any = field(repr=False, default=None)

    @property
    def bad(self) -> int:
        """Number of images not accepted."""
        return sum(not verdict.accepted for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class _Validator:
    """The parts of a validation that are the same for every shard."""

    checks: tuple[Check, ...]
    columns: tuple[str, ...]
    suite: Any
    batch_definition: Any


def validate(
    image_ids: Sequence[int], measurements: Sequence[Measurement], limits: Limits, shard: int = 0
) -> ShardVerdicts:
    """Validate one shard.

    Args:
        image_ids: ids of the images, distinct.
        measurements: one for each image, in the same order.
        limits: the limits under which the images were read.
        shard: the shard's number in its run, for Data Docs.

    Raises:
        ValidationError: Great Expectations could not evaluate one of the expectations.
        ValueError: the arguments differ in length, or an id is repeated.
    """
    if len(set(image_ids)) != len(image_ids) or len(image_ids) != len(measurements):
        raise ValueError("image ids must be distinct and as many as measurements")
    if not image_ids:
        return ShardVerdicts(shard, ())
    with _lock:  # Great Expectations keeps the current batch in the context
        validator = _validator(limits)
        rows = [row(measurement, limits) for measurement in measurements]
        table = frame(image_ids, rows, validator.columns)
        batch = validator.batch_definition.get_batch({"dataframe": table})
        result = batch.validate(validator.suite, result_format=_RESULT_FORMAT)
    from great_expectations.core.run_identifier import RunIdentifier

    result.meta["run_id"] = RunIdentifier(run_name=f"shard {shard}")
    broken = _broken(result)
    verdicts = (
        _verdict(image_id, known, broken.get(image_id, frozenset()), validator.checks)
        for image_id, known in zip(image_ids, rows, strict=True)
    )
    return ShardVerdicts(shard, tuple(verdicts), result)


@lru_cache(maxsize=1)
def prepare(limits: Limits) -> None:
    """Import and set up what takes seconds, so that no shard has to wait for it."""
    validate([0], [Measurement(n_bytes=0, sha256=None)], limits)
    # Otherwise each validation makes the garbage collector scan everything that was imported.
    gc.freeze()


@lru_cache(maxsize=1)
def _validator(limits: Limits) -> _Validator:
    gx = quiet_great_expectations()
    context = new_context()
    checks = checklist(limits)
    suite = context.suites.add(gx.ExpectationSuite(name=SUITE))
    columns: dict[str, None] = {}
    for place, check in enumerate(checks, start=1):
        for number, rule in enumerate(check.rules):
            rule.expectation.description = f"{check.words} Expected: {rule.threshold}."
            rule.expectation.meta = {
                "check": check.name,
                "place": place,
                "rule": number,
                "words": check.words,
                "threshold": rule.threshold,
            }
            suite.add_expectation(rule.expectation)
            columns[rule.expectation.column] = None
    source = context.data_sources.add_pandas("measurements")
    batches = source.add_dataframe_asset("shard").add_batch_definition_whole_dataframe("shard")
    return _Validator(checks, tuple(columns), suite, batches)


def _broken(result: Any) -> dict[int, frozenset[tuple[str, int]]]:
    """Return the broken rules by image id, as (check name, rule number); only images that break any."""
    broken: defaultdict[int, set[tuple[str, int]]] = defaultdict(set)
    for outcome in result.results:
        meta = outcome.expectation_config.meta
        places = outcome.result.get("unexpected_index_list") or []
        if len(places) != outcome.result.get("unexpected_count", -1) or outcome.success != (not places):
            error = ValidationError(f"the expectation '{meta['check']}' could not be evaluated")
            error.add_note(str(outcome.exception_info))
            raise error
        for place in places:
            broken[int(place["image_id"])].add((meta["check"], meta["rule"]))
    return {image_id: frozenset(rules) for image_id, rules in broken.items()}


def _verdict(
    image_id: int, known: dict[str, Any], broken: frozenset[tuple[str, int]], checks: Sequence[Check]
) -> Verdict:
    names = {name for name, _ in broken}
    failed = [check for check in checks if check.name in names and not names.intersection(check.unless)]
    first = (
        (check, next(rule for number, rule in enumerate(check.rules) if (check.name, number) in broken))
        for check in failed
    )
    return Verdict(image_id, tuple(Reason(_found(rule, known), check.name) for check, rule in first))


def _found(rule: Rule, known: dict[str, Any]) -> str:
    return rule.found.format(**(known | rule.thresholds))
