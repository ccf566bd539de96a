"""Cross-validation of a recipe on a folder of labelled images, with baselines on the same folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.datasets import labelled_images
from tasks.pages.wording import counted
from tasks.tournament import baselines, fold_training
from tasks.tournament.entries import enter
from tasks.tournament.ranking import with_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.radiographs.radiograph import Limits
    from models.recipes.recipe import Recipe
    from tasks.tournament.entries import Entries
    from tasks.tournament.fold_training import FoldResult, TrainingTerms


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The figures of a cross-validation: those of the recipe first, then those of the baselines."""

    figures: Mapping[str, dict[str, Any]]
    """`models.evaluation.test_set.evaluation_figures`, by what answered."""
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
            lines.append(f"| {what} | {' | '.join(map(with_interval, cells))} |")
        return "\n".join([*lines, "", *self.notes])


def cross_validate(
    folder: Path, recipe: Recipe, limits: Limits, cache: Path, terms: TrainingTerms, *, with_baselines: bool,
    say: Callable[[str], None],
) -> CrossValidation:  # fmt: skip
    """Cross-validate a recipe. A fold that an earlier run finished is not trained again.

    Args:
        folder: one sub-folder for each class, and a labels.csv (file, label, patient_id) if there is one.
        recipe: what to train.
        limits: what is refused before decoding.
        cache: folder that is safe to delete.
        terms: the number of folds, and what their trainings share.
        with_baselines: let simple models answer the same folds.
        say: called with a sentence after each epoch and fold.

    Raises:
        DatasetError: the folder holds fewer than two classes, the sheet cannot be read, or there are too few patients
            for so many folds.
        TournamentError: the training of a fold diverged, ran out of memory or failed, or another cross-validation or
            tournament is running on this machine.
    """
    entries = enter(labelled_images.from_folder(folder, (0.0, 0.0)), folder.resolve().name, limits)
    about = _about(entries)
    say(about)
    splits = entries.folds(terms.folds, terms.seed)
    results: list[FoldResult] = []
    simple: dict[str, NDArray[np.float32]] = {}
    with fold_training.machine_lock(cache):
        try:
            for fold, split in enumerate(splits):
                tell = _epoch_teller(fold + 1, len(splits), say)
                results.append(fold_training.train_fold(cache, entries, recipe, fold, split, terms, tell))
                say(f"fold {fold + 1} of {len(splits)}: accuracy {_accuracy(entries, results[-1]):.3f}")
            if with_baselines:
                say("baselines on the same folds")
                simple = baselines.baselines(cache, entries, splits)
        finally:
            fold_training.remove_pixels(cache)
    return _summarised(entries, recipe, terms, results, simple, about)


def _about(entries: Entries) -> str:
    images, patients = counted(len(entries.images), "image"), counted(len(set(entries.patients)), "patient")
    counts = ", ".join(f"{(entries.labels == place).sum():,} {name}" for place, name in enumerate(entries.classes))
    return " ".join([f"{images} of {patients} ({counts}).", *entries.remarks])


def _epoch_teller(fold: int, folds: int, say: Callable[[str], None]) -> Callable[[int, dict[str, float]], None]:
    def tell(epoch: int, told: dict[str, float]) -> None:
        figures = ", ".join(f"{name} {value:.3f}" for name, value in told.items())
        say(f"fold {fold} of {folds}, epoch {epoch}: {figures}")

    return tell


def _accuracy(entries: Entries, result: FoldResult) -> float:
    return float((result.probabilities.argmax(axis=1) == entries.labels[result.rows]).mean())


def _summarised(
    entries: Entries, recipe: Recipe, terms: TrainingTerms, results: Sequence[FoldResult],
    simple: Mapping[str, NDArray[np.float32]], about: str,
) -> CrossValidation:  # fmt: skip
    from models.evaluation.test_set import TestSet, evaluation_figures

    pooled = np.zeros((len(entries.images), len(entries.classes)), np.float32)
    for result in results:
        pooled[result.rows] = result.probabilities
    answers = {f"**{recipe.name}**": pooled} | {
        f"sees only {baselines.with_method(what)}": given for what, given in simple.items()
    }
    held_out = TestSet(
        labels=entries.labels, patients=tuple(entries.patients), classes=entries.classes, contents=entries.contents
    )
    accuracies = ", ".join(f"{_accuracy(entries, result):.3f}" for result in results)
    epochs = ", ".join(str(result.epochs) for result in results)
    took = f"{sum(result.seconds for result in results) / 60:.0f} min on Keras's {results[0].backend} backend"
    return CrossValidation(
        figures={what: evaluation_figures(held_out, given) for what, given in answers.items()},
        heading=(
            f"{terms.folds}-fold cross-validation by patient, answers pooled; 95 % intervals from resampled patients. "
            f"{about}"
        ),
        notes=(
            f"Accuracy by fold: {accuracies}; epochs: {epochs}; {took}; seed {terms.seed}.",
            *dict.fromkeys(f"{words}." for result in results for words in result.notes),
            *(["MADE DATA: phantoms. Nothing here is about a patient."] if entries.made else []),
        ),
    )
