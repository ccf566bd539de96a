"""Validation: hold one shard's measurements against the expectations, and say of each image what it failed.

Great Expectations decides; this file turns its row-level results into verdicts in words. It is
imported on first use, since importing it takes longer than an empty night.
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
    """The suite itself could not be evaluated: nothing is known about the images."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checklist says of one image: a reason for each expectation that it failed, none where it is accepted."""

    image_id: int
    reasons: tuple[Reason, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether no expectation failed."""
        return not self.reasons

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the expectations that failed, in the order of the checklist."""
        return tuple(one.expectation for one in self.reasons if one.expectation is not None)

    @property
    def reason(self) -> str:
        """The reasons as one text for people."""
        return reason_text(self.reasons)


@dataclass(frozen=True, slots=True)
class ShardVerdicts:
    """Verdicts in the order in which the images were given, and Great Expectations' own result for Data Docs."""

    shard: int
    verdicts: tuple[Verdict, ...]
    result: Any = field(repr=False, default=None)

    @property
    def bad(self) -> int:
        """Number of images not accepted."""
        return sum(not verdict.accepted for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class _Bench:
    """Everything that does not change from shard to shard."""

    checks: tuple[Check, ...]
    columns: tuple[str, ...]
    suite: Any
    batch_definition: Any


def validate(
    image_ids: Sequence[int], measurements: Sequence[Measurement], limits: Limits, shard: int = 0
) -> ShardVerdicts:
    """Run the suite once over a shard.

    Args:
        image_ids: the images' ids, distinct.
        measurements: as many measurements, in the same order.
        limits: the limits that the images were read under.
        shard: the shard's number in its run, for Data Docs.

    Raises:
        ValidationError: Great Expectations could not evaluate one of the expectations.
        ValueError: the arguments differ in length or an id is there twice.
    """
    if len(set(image_ids)) != len(image_ids) or len(image_ids) != len(measurements):
        raise ValueError("image ids must be distinct and as many as measurements")
    if not image_ids:
        return ShardVerdicts(shard, ())
    with _lock:  # Great Expectations keeps the current batch in the context
        bench = _bench(limits)
        rows = [row(measurement, limits) for measurement in measurements]
        table = frame(image_ids, rows, bench.columns)
        batch = bench.batch_definition.get_batch({"dataframe": table})
        result = batch.validate(bench.suite, result_format=_RESULT_FORMAT)
    from great_expectations.core.run_identifier import RunIdentifier

    result.meta["run_id"] = RunIdentifier(run_name=f"shard {shard}")
    broken = _broken(result)
    verdicts = (
        _verdict(image_id, known, broken.get(image_id, frozenset()), bench.checks)
        for image_id, known in zip(image_ids, rows, strict=True)
    )
    return ShardVerdicts(shard, tuple(verdicts), result)


@lru_cache(maxsize=1)
def prepare(limits: Limits) -> None:
    """Do what takes seconds the first time, so that no shard has to wait for it."""
    validate([0], [Measurement(n_bytes=0, sha256=None)], limits)
    # Else the garbage collector looks through all that was imported again and again, in each validation.
    gc.freeze()


@lru_cache(maxsize=1)
def _bench(limits: Limits) -> _Bench:
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
    return _Bench(checks, tuple(columns), suite, batches)


def _broken(result: Any) -> dict[int, frozenset[tuple[str, int]]]:
    """Return for each image with any: the rules it breaks, as (check's name, number of the rule)."""
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
