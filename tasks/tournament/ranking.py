"""Ranking of recipes on one set: how accurate each is, what it costs, and which differences are significant."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tasks.pages.wording import counted
from tasks.tournament.baselines import with_method

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tasks.tournament.entries import Entries
    from tasks.tournament.fold_training import FoldResult

COLUMNS: Final = {
    "accuracy": "accuracy", "macro_precision": "precision", "balanced_accuracy": "recall", "macro_f1": "F1",
    "macro_auc": "ROC AUC",
}  # fmt: skip
"""Columns of the table, by metric; precision, recall, F1 and ROC AUC are means over the classes."""


@dataclass(frozen=True, slots=True)
class RankedRecipe:
    """One recipe's row in the table."""

    recipe: str
    figures: Mapping[str, Any]
    """`models.evaluation.test_set.evaluation_figures` on the held-out images."""
    parameters: int
    seconds: float
    """Of training, over all folds."""
    images_per_s: float
    """In training: the median over the folds."""
    epochs: tuple[int, ...]
    """Epochs run in each fold."""
    p_value: float | None
    """Of the difference in accuracy from the first recipe, corrected for all pairs; None for the first one."""
    right: NDArray[np.bool_] = field(repr=False)
    """(images,) whether it names the class of a held-out image."""
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of the held-out images whose class it names."""
        return float(self.figures["metrics"]["accuracy"]["value"])


@dataclass(frozen=True, slots=True)
class Ranking:
    """The recipes on one set, the most accurate one first."""

    name: str
    images: int
    """Held-out images, answered by all recipes."""
    patients: int
    """Of the held-out images."""
    classes: Mapping[str, int]
    """Held-out images of each class."""
    folds: int
    """0: one split."""
    seed: int
    rows: tuple[RankedRecipe, ...]
    p_values: NDArray[np.float64] = field(repr=False)
    """(rows, rows) of the difference between two recipes, corrected for all pairs."""
    shortcuts: Mapping[str, Mapping[str, Any]]
    """Figures of the baselines on the same images, by what they see."""
    failures: Mapping[str, str]
    """Recipes that gave no answers, and why."""
    backend: str
    made: bool
    remarks: tuple[str, ...]
    """`tasks.tournament.entries.Entries.remarks`."""

    @property
    def winner(self) -> RankedRecipe:
        """The first one."""
        return self.rows[0]


def rank(
    entries: Entries,
    results: Mapping[str, Sequence[FoldResult]],
    failures: Mapping[str, str],
    *,
    folds: int,
    seed: int,
    shortcuts: Mapping[str, NDArray[np.float32]] | None = None,
) -> Ranking:
    """Rank recipes by accuracy on the held-out images; the answers of all folds are pooled.

    Args:
        entries: the images.
        results: by recipe, at least one: the result of each fold.
        failures: recipes that gave no answers, and why.
        folds: number of folds; 0: one split.
        seed: of the folds and of the permutation test.
        shortcuts: by what the baseline sees: its answers (n, classes), in the order of the entries.
    """
    from models.evaluation import ranking, test_set

    rows = np.sort(np.concatenate([fold.rows for fold in next(iter(results.values()))]))
    labels, contents = entries.labels[rows], entries.contents
    patients = tuple(entries.patients[row] for row in rows)
    test = test_set.TestSet(
        labels=labels, patients=patients, classes=entries.classes, contents=tuple(contents[row] for row in rows)
    )
    answers = {name: _pooled(parts, rows) for name, parts in results.items()}
    right = {name: given.argmax(axis=1) == labels for name, given in answers.items()}
    order = sorted(results, key=lambda name: (-right[name].mean(), name))
    p_values = ranking.pairwise_p_values(np.stack([right[name] for name in order]), patients, seed)
    table = tuple(
        _row(
            name,
            results[name],
            test_set.evaluation_figures(test, answers[name]),
            right[name],
            float(p_values[0, place]),
        )
        if place
        else _row(name, results[name], test_set.evaluation_figures(test, answers[name]), right[name], None)
        for place, name in enumerate(order)
    )
    return Ranking(
        name=entries.name,
        images=len(rows),
        patients=len(set(patients)),
        classes={name: int((labels == place).sum()) for place, name in enumerate(entries.classes)},
        folds=folds,
        seed=seed,
        rows=table,
        p_values=p_values,
        shortcuts={what: test_set.evaluation_figures(test, given[rows]) for what, given in (shortcuts or {}).items()},
        failures=dict(failures),
        backend=results[order[0]][0].backend,
        made=entries.made,
        remarks=entries.remarks,
    )


def _pooled(parts: Sequence[FoldResult], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the answers to the rows, from whichever fold held them out: (rows, classes)."""
    given = dict(zip(np.concatenate([part.rows for part in parts]).tolist(),
                     np.concatenate([part.probabilities for part in parts]), strict=True))  # fmt: skip
    return np.stack([given[row] for row in rows.tolist()])


def _row(
    name: str, parts: Sequence[FoldResult], figures: Mapping[str, Any], right: NDArray[np.bool_], p_value: float | None
) -> RankedRecipe:
    return RankedRecipe(
        recipe=name,
        figures=figures,
        parameters=parts[0].parameters,
        seconds=sum(part.seconds for part in parts),
        images_per_s=median(part.images_per_s for part in parts),
        epochs=tuple(part.epochs for part in parts),
        p_value=p_value,
        right=right,
        notes=tuple(dict.fromkeys(words for part in parts for words in part.notes)),
    )


@dataclass(frozen=True, slots=True)
class Volatility:
    """How much a recipe's accuracy varies between sets."""

    recipe: str
    accuracies: Mapping[str, float]
    """By set."""

    @property
    def mean(self) -> float:
        """Mean accuracy; each set counts equally."""
        return float(np.mean(list(self.accuracies.values())))

    @property
    def spread(self) -> float:
        """Largest minus smallest accuracy."""
        return max(self.accuracies.values()) - min(self.accuracies.values())

    @property
    def deviation(self) -> float:
        """Standard deviation of the accuracy over the sets (n - 1)."""
        return float(np.std(list(self.accuracies.values()), ddof=1))


def volatility(tables: Sequence[Ranking]) -> list[Volatility]:
    """Compare the recipes that answered every set, the least volatile one first.

    The Karcevski report asks the same: which model keeps its accuracy on another data set?
    """
    found: dict[str, dict[str, float]] = {}
    for table in tables:
        for row in table.rows:
            found.setdefault(row.recipe, {})[table.name] = row.accuracy
    every = [Volatility(name, of) for name, of in found.items() if len(of) == len(tables)]
    return sorted(every, key=lambda one: (one.spread, -one.mean))


def sentence(table: Ranking) -> str:
    """Say which recipe is first, and from which ones the difference may be chance."""
    first = table.winner
    figure = first.figures["metrics"]["accuracy"]
    text = f"{first.recipe} is first: accuracy {with_interval(figure)} on {counted(table.images, 'image')} of "
    text += f"{counted(table.patients, 'patient')}"
    alike = [row.recipe for row in table.rows[1:] if row.p_value is not None and not is_significant(row.p_value)]
    if len(table.rows) == 1:
        return f"{text}."
    if not alike:
        return f"{text}; its lead over every other recipe is real."
    return f"{text}; {', '.join(alike)} cannot be told from it."


def markdown(table: Ranking) -> str:
    """Return the table in Markdown, with 95 % intervals from resampled patients."""
    how = f"{table.folds}-fold cross-validation by patient, answers pooled" if table.folds else "one split by patient"
    counts = ", ".join(f"{images:,} {name}" for name, images in table.classes.items())
    lines = [
        (
            f"**{table.name}**: {how}; {counted(table.images, 'held-out image')} of "
            f"{counted(table.patients, 'patient')} ({counts}). {sentence(table)}"
        ),
        "",
        "| recipe | " + " | ".join(COLUMNS.values()) + " | from the first | parameters | trained | img/s | epochs |",
        "| --- |" + " ---: |" * (len(COLUMNS) + 5),
    ]
    for row in table.rows:
        cells = [with_interval(row.figures["metrics"][name]) for name in COLUMNS]
        epochs = ", ".join(map(str, row.epochs))
        cells += [
            ", ".join(difference(row) or ()),
            f"{row.parameters:,}",
            _minutes(row.seconds),
            f"{row.images_per_s:.0f}",
            epochs,
        ]
        lines.append(f"| {row.recipe} | {' | '.join(cells)} |")
    for what, found in table.shortcuts.items():
        cells = [with_interval(found["metrics"][name]) for name in COLUMNS]
        lines.append(f"| *sees only {with_method(what)}* | {' | '.join(cells)} | | | | | |")
    lines += [
        "",
        (
            "95 % intervals from resampled patients. Precision, recall and F1 are means over the classes. “From the "
            "first”: paired permutation test by patient on accuracy, Holm-corrected for all pairs; “alike” where it "
            f"finds no difference at 0.05. Keras on {table.backend}, seed {table.seed}."
        ),
    ]
    lines += [*table.remarks]
    lines += [f"{name} gave no answers: {why}." for name, why in table.failures.items()]
    lines += ["MADE DATA: phantoms. Nothing here is about a patient."] if table.made else []
    return "\n".join(lines)


def volatility_markdown(found: Sequence[Volatility]) -> str:
    """Return the table across sets in Markdown, the least volatile recipe first."""
    names = list(found[0].accuracies) if found else []
    lines = [
        f"| recipe | {' | '.join(names)} | mean | largest less smallest | standard deviation |",
        "| --- |" + " ---: |" * (len(names) + 3),
    ]
    for one in found:
        cells = [f"{one.accuracies[name]:.3f}" for name in names]
        cells += [f"{one.mean:.3f}", f"{one.spread:.3f}", f"{one.deviation:.3f}"]
        lines.append(f"| {one.recipe} | {' | '.join(cells)} |")
    return "\n".join(lines)


def difference(row: RankedRecipe) -> tuple[str, str] | None:
    """Say whether a recipe differs significantly from the first one, and with which p-value; None for the first one."""
    if row.p_value is None:
        return None
    words = "p < 0.001" if row.p_value < 0.001 else f"p = {row.p_value:.3f}"  # noqa: PLR2004 - the usual limit
    return ("real" if is_significant(row.p_value) else "alike"), words


def is_significant(p_value: float) -> bool:
    """Tell whether a difference is significant, at the level that the ranking uses."""
    from models.evaluation.ranking import SIGNIFICANCE_LEVEL

    return p_value < SIGNIFICANCE_LEVEL


def with_interval(figure: Mapping[str, float | None]) -> str:
    """Return a figure with its 95 % interval in brackets; nothing where it is not known."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return ""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f}-{high:.3f})"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"  # noqa: PLR2004 - two minutes
