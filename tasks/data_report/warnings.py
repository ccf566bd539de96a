"""Warnings about labelled images: what to know before training a model on them or trusting its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from models.data.shortcuts import BORDER_BASELINE
from tasks.pages.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tasks.data_report.baselines import Baseline
    from tasks.data_report.facts import Facts
    from tasks.data_report.people import People
    from tasks.datasets.labelled_images import Collection

IMBALANCE: Final = 3.0
"""Ratio of class sizes that is worth a warning: a model that always predicts the larger class then looks good."""
FEW_PATIENTS: Final = 10
MISSING: Final = 0.25
"""Share of rows without a finding that is worth a warning."""


@dataclass(frozen=True, slots=True)
class DataWarning:
    """One warning; `grave` if a model's figures would be misleading."""

    title: str
    words: str
    section: str
    """The id of the section with the details."""
    grave: bool = False


def warnings(facts: Facts | None, collection: Collection | None, people: Mapping[str, People]) -> list[DataWarning]:
    """Return the warnings, the most serious first."""
    found = [*_of_images(facts, collection), *_of_people(people)] if facts and collection else [*_of_people(people)]
    return sorted(found, key=lambda one: not one.grave)


def _of_images(facts: Facts, collection: Collection) -> Iterator[DataWarning]:
    for baseline in facts.baselines:
        if baseline.strength != "none":
            yield _shortcut(baseline)
    if 0 < facts.made < facts.images:
        made = counted(facts.made, "image")
        yield DataWarning(
            "Made data mixed with real data", f"{made} of {facts.images:,} are phantoms.", "balance", grave=True
        )
    yield from _of_duplicates(facts, collection)
    if facts.multi_class_patients:
        each = "; ".join(
            f"{counted(n, 'patient')} in {' and '.join(names)}" for names, n in facts.multi_class_patients.items()
        )
        yield DataWarning(
            "Patients in several classes",
            f"{each}. This may be the course of a disease, or contradictory labels.", "patients",
        )  # fmt: skip
    if facts.imbalance >= IMBALANCE:
        large = max(facts.classes, key=lambda one: one.images)
        small = min(facts.classes, key=lambda one: one.images)
        yield DataWarning(
            "Class imbalance",
            f"{large.name} has {facts.imbalance:.1f} times as many images as {small.name} ({large.images:,} and "
            f"{small.images:,}): accuracy alone would flatter a model; look at balanced accuracy.", "balance",
        )  # fmt: skip
    few = [f"{one.name} ({one.patients:,})" for one in facts.classes if one.patients < FEW_PATIENTS]
    if few:
        yield DataWarning("Few patients", f"Fewer than {FEW_PATIENTS} patients: {', '.join(few)}.", "balance")
    if facts.unreadable:
        total = sum(facts.unreadable.values())
        yield DataWarning(
            "Unreadable files",
            f"{counted(total, 'file')} of {total + facts.images:,} cannot be read and "
            f"{'is' if total == 1 else 'are'} left out of all figures.", "files",
        )  # fmt: skip
    if not collection.patients_known:
        yield DataWarning(
            "Patients are unknown",
            "No labels.csv names them, so each image counts as a separate patient. If some have several images, "
            "intervals are too narrow and splits may leak.", "patients",
        )  # fmt: skip


def _shortcut(baseline: Baseline) -> DataWarning:
    border = baseline.sees == BORDER_BASELINE
    strong = baseline.strength == "strong"
    what = "The borders of the images" if border else "The files"
    alone = "The outer 6 % of each side" if border else "Size and format of the file"
    return DataWarning(
        f"Shortcut: {what.lower()} {'give the classes away' if strong else 'hint at the classes'}",
        f"{alone} alone, without a look at the lungs, predict{'s' if border else ''} the class with a balanced "
        f"accuracy of {baseline.value:.3f} ({baseline.low:.3f} to {baseline.high:.3f}); guessing reaches "
        f"{baseline.chance:.3f}. A model may learn where an image comes from instead of what it shows.", "files",
        grave=strong,
    )  # fmt: skip


def _of_duplicates(facts: Facts, collection: Collection) -> Iterator[DataWarning]:
    duplicates = facts.duplicates
    if duplicates.copies:
        other = (
            f", {counted(duplicates.copies_in_several_classes, 'file')} of them with two labels"
            if duplicates.copies_in_several_classes
            else ""
        )
        yield DataWarning(
            "Exact copies",
            f"{counted(duplicates.copies, 'file')} with the same bytes as another file{other}.", "twins",
            grave=bool(duplicates.copies_in_several_classes),
        )  # fmt: skip
    if duplicates.pairs:
        would = "" if collection.place == "database" else "would be "
        apart = [
            f"{number:,} {words}"
            for number, words in (
                (duplicates.classes, "in different classes"),
                (duplicates.patients, "of different patient ids"),
                (duplicates.splits, f"{would}in different splits"),
            )
            if number
        ]
        shows = "shows" if duplicates.pairs == 1 else "show"
        yield DataWarning(
            "Near-duplicates",
            f"{counted(duplicates.pairs, 'pair')} of images {shows} the same picture{': ' if apart else ''}"
            f"{', '.join(apart)}.", "twins", grave=bool(duplicates.classes),
        )  # fmt: skip


def _of_people(people: Mapping[str, People]) -> Iterator[DataWarning]:
    for number, (title, found) in enumerate(people.items()):
        unsaid = found.findings.get("not given", 0)
        if found.rows and unsaid / found.rows >= MISSING:
            yield DataWarning(
                "Findings are missing",
                f"{unsaid:,} of {counted(found.rows, 'row')} of {title} name no finding.", f"people-{number}",
            )  # fmt: skip
