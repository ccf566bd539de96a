"""Cross-validation of a recipe on a folder of labelled images, beside what simple models reach on the same folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.datasets import labelled_images
from tasks.pages.wording import counted
from tasks.tournament import baselines as shortcut_answers
from tasks.tournament import contest
from tasks.tournament.entries import enter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.radiographs.radiograph import Limits
    from models.recipes.recipe import Recipe
    from tasks.tournament.entries import Entries


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of a cross-validation: of the recipe first, then of the baselines."""

    figures: Mapping[str, dict[str, Any]]
    """By what answered: `models.evaluation.figures`."""
    heading: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """A table in Markdown, with intervals."""
        classes = list(next(iter(self.figures.values()))["per_class"])
        columns = ["accuracy", "balanced accuracy", *(f"sensitivity {name}" for name in classes), "macro AUC", "ECE"]
        lines = [self.heading, "", f"| | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
        for what, found in self.figures.items():
            whole = found["metrics"]
            cells = [whole["accuracy"], whole["balanced_accuracy"]]
            cells += [found["per_class"][name]["sensitivity"] for name in classes]
            cells += [whole["macro_auc"], whole["ece"]]
            lines.append(f"| {what} | {' | '.join(map(_cell, cells))} |")
        return "\n".join([*lines, "", *self.notes])


def measure(
    folder: Path, recipe: Recipe, limits: Limits, cache: Path, *, folds: int, epochs: int | None, seed: int,
    pretrained_dir: Path | None, baselines: bool, say: Callable[[str], None],
) -> Outcome:  # fmt: skip
    """Cross-validate a recipe; folds that an earlier run has trained are not trained again.

    Args:
        folder: one sub-folder for each class, a labels.csv (file, label, patient_id) if there is one.
        recipe: what to train.
        limits: what is refused before decoding.
        cache: folder that is safe to delete.
        folds: how many.
        epochs: at most, instead of the recipe's.
        seed: of folds and trainings.
        pretrained_dir: see `tasks.tournament.contest.Terms`.
        baselines: answer the folds with simple models too.
        say: told of each epoch and fold.

    Raises:
        DatasetError: the folder holds fewer than two classes, the sheet cannot be read, or there are too few patients
            for so many folds.
        ContestError: a fold's training diverged, ran out of memory or failed.
    """
    from infra.version import code_version
    from models.evaluation.test_set import TestSet, figures

    entries = enter(labelled_images.of_folder(folder, (0.0, 0.0)), folder.resolve().name, limits)
    labels, people = entries.labels, counted(len(set(entries.patients)), "patient")
    counts = ", ".join(f"{(labels == place).sum():,} {name}" for place, name in enumerate(entries.classes))
    about = " ".join([f"{counted(len(labels), 'image')} of {people} ({counts}).", *entries.remarks])
    say(about)
    terms = contest.Terms(folds, seed, epochs, None, code_version(), pretrained_dir)
    splits, parts = entries.folds(folds, seed), []
    with contest.alone(cache):
        try:
            for number, split in enumerate(splits):
                part = contest.compete(cache, entries, recipe, number, split, terms, _teller(number + 1, folds, say))
                right = part.probabilities.argmax(axis=1) == labels[part.rows]
                say(f"fold {number + 1} of {folds}: accuracy {right.mean():.3f}")
                parts.append((part, float(right.mean())))
            beside = _beside(cache, entries, splits, say) if baselines else {}
        finally:
            contest.clear(cache)
    answers = np.zeros((len(labels), len(entries.classes)), np.float32)
    for part, _ in parts:
        answers[part.rows] = part.probabilities
    held_out = TestSet(
        labels=labels, patients=tuple(entries.patients), classes=entries.classes, contents=entries.contents
    )
    by_fold = ", ".join(f"{accuracy:.3f}" for _, accuracy in parts)
    run = ", ".join(str(part.epochs) for part, _ in parts)
    how = f"{sum(part.seconds for part, _ in parts) / 60:.0f} min on Keras's {parts[0][0].backend} backend; seed {seed}"
    return Outcome(
        figures={what: figures(held_out, given) for what, given in ({f"**{recipe.name}**": answers} | beside).items()},
        heading=(
            f"{folds}-fold cross-validation by patient, answers pooled; 95 % intervals from resampled patients. {about}"
        ),
        notes=(
            f"Accuracy by fold: {by_fold}; epochs: {run}; {how}.",
            *dict.fromkeys(f"{words}." for part, _ in parts for words in part.notes),
            *(["MADE DATA: phantoms. Nothing here is about a patient."] if entries.made else []),
        ),
    )


def _teller(fold: int, folds: int, say: Callable[[str], None]) -> Callable[[int, dict[str, float]], None]:
    def tell(epoch: int, told: dict[str, float]) -> None:
        say(
            f"fold {fold} of {folds}, epoch {epoch}: "
            + ", ".join(f"{name} {value:.3f}" for name, value in told.items())
        )

    return tell


def _beside(
    cache: Path, entries: Entries, splits: Sequence[NDArray[np.str_]], say: Callable[[str], None]
) -> dict[str, NDArray[np.float32]]:
    say("baselines on the same folds")
    return {f"sees only {what}": given for what, given in shortcut_answers.baselines(cache, entries, splits).items()}


def _cell(figure: Mapping[str, float | None]) -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return ""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f}-{high:.3f})"
