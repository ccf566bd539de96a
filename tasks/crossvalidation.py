"""Cross-validation of a recipe on a folder of labelled images, beside what simple models reach on the same folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tasks import evaluation, folders
from tasks.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from models.radiograph import Limits
    from models.recipes import Recipe
    from tasks.folders import Folder

HOG: Final = "a linear model on oriented gradients (HOG)"


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
    folder: Path, recipe: Recipe, limits: Limits, *, folds: int, epochs: int | None, seed: int, baselines: bool,
    say: Callable[[str], None],
) -> Outcome:  # fmt: skip
    """Cross-validate a recipe.

    Args:
        folder: one sub-folder for each class, a labels.csv (file, label, patient_id) if there is one.
        recipe: what to train.
        limits: what is refused before decoding.
        folds: how many.
        epochs: instead of the recipe's.
        seed: of folds and trainings.
        baselines: answer the folds with simple models too.
        say: told of each epoch and fold.

    Raises:
        DatasetError: the folder holds fewer than two classes, or the sheet cannot be read.
        TrainingError: too few patients for so many folds.
    """
    from models.crossvalidation import crossvalidate
    from models.evaluation import TestSet, figures

    data = folders.from_folder(folder, recipe.preprocessing, limits=limits)
    counts = ", ".join(f"{(data.labels == place).sum():,} {name}" for place, name in enumerate(data.classes))
    people = counted(len(set(data.patients)), "patient")
    say(f"{counted(len(data.labels), 'image')} of {people}: {counts}; {data.unreadable} unreadable")

    def tell(fold: int, epoch: int, told: dict[str, float]) -> None:
        say(
            f"fold {fold} of {folds}, epoch {epoch}: "
            + ", ".join(f"{name} {value:.3f}" for name, value in told.items())
        )

    found = crossvalidate(
        recipe, data.images, data.labels, data.patients, data.classes, count=folds, seed=seed, epochs=epochs,
        on_epoch=tell, on_fold=lambda fold, accuracy: say(f"fold {fold} of {folds}: accuracy {accuracy:.3f}"),
    )  # fmt: skip
    answers = {f"**{recipe.name}**": found.probabilities}
    if baselines:
        say("baselines on the same folds")
        answers |= _baselines(data, folds, seed)
    contents = tuple(str(one.sha256) for one in data.measurements)
    held_out = TestSet(labels=data.labels, patients=tuple(data.patients), classes=data.classes, contents=contents)
    import keras

    by_fold, run = ", ".join(f"{value:.3f}" for value in found.accuracies), ", ".join(map(str, found.epochs))
    how = f"{found.seconds / 60:.0f} min on Keras's {keras.backend.backend()} backend; seed {seed}"
    return Outcome(
        figures={what: figures(held_out, given) for what, given in answers.items()},
        heading=(
            f"{folds}-fold cross-validation by patient, answers pooled; 95 % intervals from resampled patients. "
            f"{counted(len(data.labels), 'image')} of {people} ({counts})."
        ),
        notes=(
            f"Accuracy by fold: {by_fold}; epochs: {run}; {how}.",
            *(["MADE DATA: phantoms. Nothing here is about a patient."] if data.made else []),
        ),
    )


def _baselines(data: Folder, folds: int, seed: int) -> dict[str, NDArray[np.float32]]:
    import pandas as pd

    from models import shortcuts
    from models.crossvalidation import gradient_histograms, linear_baseline, pooled

    classes, labels, histograms = len(data.classes), data.labels, gradient_histograms(data.images)
    files = pd.DataFrame(
        [
            {
                "size_bytes": one.n_bytes,
                **{name: getattr(one, name) for name in shortcuts.FEATURES if name != "size_bytes"},
            }
            for one in data.measurements
        ],
        columns=list(shortcuts.FEATURES),
    )

    def by_file(train: NDArray[np.intp], test: NDArray[np.intp]) -> NDArray[np.float32]:
        return shortcuts.file_baseline(files.iloc[train], labels[train], files.iloc[test], classes)

    def by_border(train: NDArray[np.intp], test: NDArray[np.intp]) -> NDArray[np.float32]:
        return shortcuts.border_baseline(data.images[train], labels[train], data.images[test], classes)

    def by_gradients(train: NDArray[np.intp], test: NDArray[np.intp]) -> NDArray[np.float32]:
        return linear_baseline(histograms, labels, train, test)

    sees = {HOG: by_gradients, f"sees only {evaluation.BORDER}": by_border, f"sees only {evaluation.FILE}": by_file}
    return {what: pooled(answer, labels, data.patients, count=folds, seed=seed) for what, answer in sees.items()}


def _cell(figure: Mapping[str, float | None]) -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return ""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f}-{high:.3f})"
