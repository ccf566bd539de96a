"""A job for a worker process: the files of its folder, what is asked for, and how the process ended.

A process and the one that started it share this folder and nothing else. `tasks.training.jobs` writes the job and the
images; `models.training.worker` writes the rest, and the outcome last.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

import numpy as np

from models.files import read_json, write_arrays, write_json
from models.recipes.recipe import Recipe
from models.vocabulary import SPLITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

JOB: Final = "job.json"
"""`TrainingJob` or `AnsweringJob`."""
ROWS: Final = "rows.npz"
"""Labels and splits of a training job: `labels`, and `splits` as positions in `models.vocabulary.SPLITS`."""
IMAGES: Final = "images.npy"
"""(n, height, width, channels) uint8, preprocessed."""
HISTORY: Final = "history.json"
"""The number of each epoch that this process ran (`epoch`, from 1) and its figures."""
CHECKPOINTS: Final = "checkpoints"
"""Folder of `models.training.checkpoint`."""
ARTIFACT: Final = "artifact"
"""Folder of the trained model, as `models.serving.artifact` writes it."""
ANSWERS: Final = "answers.npz"
"""`probabilities`: (n, classes) float32. Of a training, those of the saved artifact for the validation and test images,
with `rows`: which of the images these are."""
TIMING: Final = "timing.json"
"""How an answering job was answered: `milliseconds` an image, `runtime`, `batch_size`."""
HEATMAPS: Final = "heatmaps.npz"
"""`heatmaps`: (n, height, width) float16, 0 to 1, with `rows` and `classes`; absent where none could be made."""
OUTCOME: Final = "outcome.json"
"""`WorkerOutcome`; absent while the process works, and where it was killed."""

BATCH_SIZE: Final = 32

EndState = Literal["trained", "answered", "diverged", "out of memory", "killed", "failed"]


class JobError(RuntimeError):
    """The folder's job cannot be read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One training: the recipe, what it learns from, and how long it may take.

    The fields are the keys of job.json; labels and splits are in rows.npz.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    """In the order of the model's outputs."""
    labels: tuple[int, ...]
    """Of each image: its place in `classes`."""
    splits: tuple[str, ...]
    """Of each image: train, validation or test. No test image is learned from."""
    contents: str
    """`contents_digest` of the images: a job on other images is another job."""
    seed: int
    """Of the weights, the order of the images and their augmentation."""
    epochs: int | None
    """Instead of the recipe's; None: the recipe's."""
    budget_s: float | None
    """No epoch begins that would make the training last longer than this; the first one always does. None: no limit."""
    data_fingerprint: str
    """Of the data set; stored with the model version."""
    code_version: str
    """Stored with the model version."""
    made_data: bool
    """The images are phantoms; stored with the model version."""
    pretrained_dir: Path | None
    """Folder of the ImageNet weights with which a recipe may begin; None: they are downloaded."""

    def write(self, folder: Path) -> None:
        """Write rows.npz and job.json."""
        codes = np.array([SPLITS.index(split) for split in self.splits], np.uint8)
        write_arrays(folder / ROWS, labels=np.array(self.labels, np.int64), splits=codes)
        weights = str(self.pretrained_dir.absolute()) if self.pretrained_dir else None
        values = {name: getattr(self, name) for name in self._keys()}
        write_json(folder / JOB, values | {"recipe": self.recipe.to_dict(), "pretrained_dir": weights})

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            JobError: it is missing or damaged, or a key is missing or unknown.
        """
        values = _values(folder, cls._keys())
        try:
            values["recipe"] = Recipe.from_dict(values["recipe"])
            values["classes"] = tuple(values["classes"])
            values["pretrained_dir"] = Path(values["pretrained_dir"]) if values["pretrained_dir"] else None
            with np.load(folder / ROWS, allow_pickle=False) as rows:
                values["labels"] = tuple(rows["labels"].tolist())
                values["splits"] = tuple(SPLITS[code] for code in rows["splits"].tolist())
        except Exception as error:  # whatever a damaged file makes NumPy and zipfile raise
            raise JobError(f"{JOB} or {ROWS} cannot be read ({type(error).__name__}: {error})") from error
        return cls(**values)

    def learns_the_same_as(self, other: Self) -> bool:
        """Whether one may go on from the other's checkpoint: limits, code and the weights' folder may differ."""
        return self == replace(
            other, code_version=self.code_version, budget_s=self.budget_s, pretrained_dir=self.pretrained_dir
        )

    @classmethod
    def _keys(cls) -> set[str]:
        return {one.name for one in fields(cls)} - {"labels", "splits"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweringJob:
    """Images that an artifact is to answer, and the answers that it is to explain. The fields are job.json's keys."""

    artifact: Path
    """Folder of the artifact."""
    sha256: str
    """Of its model file, from the registry: another file is not opened."""
    explain: tuple[tuple[int, int | None], ...] = ()
    """Heatmaps to make: the row of an image, and the place of a class; None: the class that is predicted."""
    batch_size: int = BATCH_SIZE

    def write(self, folder: Path) -> None:
        """Write job.json."""
        write_json(folder / JOB, asdict(self) | {"artifact": str(self.artifact.absolute())})

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            JobError: it is missing or damaged, or a key is missing or unknown.
        """
        values = _values(folder, {one.name for one in fields(cls)})
        explain = tuple((row, place) for row, place in values["explain"])
        return cls(**values | {"artifact": Path(values["artifact"]), "explain": explain})


@dataclass(frozen=True, slots=True)
class WorkerOutcome:
    """How a worker process ended. The fields are the keys of outcome.json."""

    state: EndState
    message: str
    """In words, for a person; names no path and no patient."""
    model_version: str | None = None
    """Of the trained model; None where none was trained."""
    model_sha256: str | None = None
    """Of the trained model's file."""
    notes: tuple[str, ...] = ()
    """What else a person should know, such as a checkpoint that could not be used."""

    def write(self, folder: Path) -> None:
        """Write outcome.json."""
        write_json(folder / OUTCOME, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read what `write` wrote; None where it is missing or damaged, or says anything else."""
        try:
            values = read_json(folder / OUTCOME, None)
            found = cls(**values | {"notes": tuple(values.get("notes", ()))})
        except (TypeError, AttributeError):
            return None
        return found if found.state in get_args(EndState) else None


def contents_digest(contents: Iterable[str]) -> str:
    """Sha256 over the sha256 of some images, in their order."""
    return hashlib.sha256("".join(contents).encode()).hexdigest()


def _values(folder: Path, keys: Collection[str]) -> dict[str, Any]:
    """Read job.json, which must have these keys and no other: a default would hide what was really asked for."""
    values = read_json(folder / JOB, None)
    if not isinstance(values, dict):
        raise JobError(f"{JOB} is missing or damaged")
    if set(values) != set(keys):
        raise JobError(f"the keys of {JOB} differ from this code's in {sorted(set(values) ^ set(keys))}")
    return values
