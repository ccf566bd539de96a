"""Steps of a retraining up to its challengers: the labelled images, their arrays, and a model of each recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.artifacts import Progress
from flows.work import step
from infra.version import code_version
from models.data import near_duplicates
from models.radiographs.radiograph import Limits
from models.recipes.catalogue import SPLITS
from models.serving import artifact
from models.training import worker
from models.training.job import ARTIFACT, IMAGES, TrainingJob, contents_digest
from tasks.datasets import dataset, splits
from tasks.labels import importing
from tasks.pages.wording import counted
from tasks.registry import model_versions
from tasks.retraining import record
from tasks.training import arrays, jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from flows.runs import Retraining
    from infra.settings import Settings
    from models.radiographs.preprocessing import PreprocessingSpec
    from models.recipes.catalogue import Recipe
    from tasks.datasets.dataset import Dataset
    from tasks.registry.model_versions import ModelVersion

UNREADABLE = "not readable"
HANGS_AFTER = 3
"""Times CXR_TRAINING_MINUTES after which a training that has not ended is ended."""
WORKBENCH = "comparison"
"""Folder for the arrays of a comparison, beside the trainings' own; removed with them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One training that is to be done."""

    recipe: Recipe
    seed: int
    epochs: int | None
    """Instead of the recipe's."""

    def data(self, whole: Dataset) -> Dataset:
        """What it learns from, and is tested on: the test set is always whole."""
        return dataset.with_views(whole, self.recipe.views)

    def job(self, whole: Dataset, settings: Settings) -> TrainingJob:
        """The training on a whole data set, as a worker process is asked for it."""
        data, minutes = self.data(whole), settings.training_minutes
        return TrainingJob(
            recipe=self.recipe,
            classes=data.classes,
            labels=data.labels,
            splits=data.splits,
            contents=contents_digest(data.contents),
            seed=self.seed,
            epochs=self.epochs,
            budget_s=60 * minutes if minutes else None,
            data_fingerprint=whole.fingerprint,
            code_version=code_version(),
            made_data=data.made,
            pretrained_dir=settings.pretrained_dir,
        )

    def key(self, data: Dataset) -> str:
        """Name the training on a whole data set: the same one is not done twice."""
        return jobs.job_key(self.data(data).learning_fingerprint, self.recipe, self.seed, self.epochs)


@dataclass(frozen=True, slots=True)
class Challenger:
    """A challenger."""

    version: ModelVersion
    answers: NDArray[np.float32] | None
    """(test images, classes) as its training gave them, to choose what to explain; None: trained by an earlier run."""


@step("gather labels")
def gather(run: Retraining) -> Dataset:
    """Take up labels that waited, give new images their split, and read what there is to learn from."""
    resolved = run.retrying_database(importing.resolve_waiting, run.pool, run.store, run.settings)
    if resolved.labels:
        run.log.info("retraining %s: %s that waited found their images", run.run_id, counted(resolved.labels, "label"))
    settings = run.settings
    assigned = run.retrying_database(splits.assign, run.pool, settings.validation_share, settings.test_share)
    if new := sum(assigned.new.values()):
        run.log.info("retraining %s: %s got a split for ever", run.run_id, counted(new, "image"))
    return load(run)


def load(run: Retraining) -> Dataset:
    """Read the labelled images that may be used: what is not in the bucket any more is not learned from."""
    data = run.retrying_database(dataset.load, run.pool, run.settings.bucket)
    wanted = {(item.bucket_key, item.etag) for item in data.items}
    there = {(one.key, one.etag) for page in run.store.list("") for one in page if (one.key, one.etag) in wanted}
    gone = [place for place, item in enumerate(data.items) if (item.bucket_key, item.etag) not in there]
    return dataset.without_rare_classes(dataset.without(data, gone, dataset.OBJECT_MISSING) if gone else data)


@step("decode images")
def decode(run: Retraining, data: Dataset, plans: Sequence[Plan]) -> Dataset:
    """Decode what the cache lacks, and leave out what cannot be read or shows a picture of a stricter split.

    Returns:
        The data set with an array for each item and each recipe's preprocessing.
    """
    specs = {plan.recipe.preprocessing.hash: plan.recipe.preprocessing for plan in plans}
    for spec in specs.values():
        data = keep(run, data, spec)
    first, readable = next(iter(specs.values())), {item.content_sha256 for item in data.items}
    # Only an image's nearest neighbours are compared with it, so it is looked again among those that are left.
    # Phantoms are variations of one drawing: they all look alike.
    while not data.made and find_near_duplicates(run, data, first):
        data = load(run)
        gone = [place for place, item in enumerate(data.items) if item.content_sha256 not in readable]
        data = dataset.without(data, gone, UNREADABLE) if gone else data
    if data.near_duplicates:
        words = f"{counted(data.near_duplicates, 'pair')} of images in different splits show the same picture"
        run.note([f"{words}: what would have let a model learn test images by heart is left out"])
    return data


def find_near_duplicates(run: Retraining, data: Dataset, spec: PreprocessingSpec) -> int:
    """Look for images in different splits that show the same picture; returns how many pairs are new."""
    cache, contents = run.settings.cache, data.contents
    images = arrays.assemble(jobs.job_folder(cache, WORKBENCH) / IMAGES, contents, spec, cache)
    pairs = near_duplicates.find(images, data.splits)
    return run.retrying_database(splits.store_near_duplicates, run.pool, contents, pairs)


def keep(run: Retraining, data: Dataset, spec: PreprocessingSpec) -> Dataset:
    """See that there is an array of each item; those without one are left out, and counted."""
    progress = Progress("decoding-progress", len(data.items))
    every = max(1, len(data.items) // 20)

    def tell(done: int) -> None:
        if done % every == 0 or done == len(data.items):
            with run.best_effort("progress could not be shown"):
                progress.show(
                    done / len(data.items), f"{done:,} of {counted(len(data.items), 'labelled image')} at hand"
                )

    settings = run.settings
    kept = arrays.keep(
        data.items, run.store, spec, settings.cache, Limits(settings.max_bytes, settings.max_pixels),
        workers=settings.intake_threads, on_image=tell,
    )  # fmt: skip
    run.log.info(
        "retraining %s: %s at hand, %d decoded now", run.run_id, counted(len(kept.places), "array"), kept.decoded
    )
    if not kept.unreadable:
        return data
    run.note([f"{counted(images, 'labelled image')} left out: {reason}" for reason, images in kept.unreadable.items()])
    readable = set(kept.places.tolist())
    return dataset.without(data, [place for place in range(len(data.items)) if place not in readable], UNREADABLE)


def describe(run: Retraining, data: Dataset, plans: Sequence[Plan]) -> list[str]:
    """Write on the row what it learns from; returns the trainings' keys.

    Raises:
        DatasetError: nothing is in the test set.
    """
    counts = {name: sum(item.split == name for item in data.items) for name in SPLITS}
    run.log.info(
        "retraining %s: %s; %s; left out: %s",
        run.run_id, ", ".join(f"{images:,} {name}" for name, images in counts.items()), ", ".join(data.classes),
        "; ".join(f"{images:,} {reason}" for reason, images in data.left_out.items()) or "none",
    )  # fmt: skip
    labels = run.retrying_database(importing.count_images, run.pool)
    run.retrying_database(
        record.describe, run.pool, run.run_id,
        labels=labels, data_fingerprint=data.fingerprint, test_fingerprint=data.test_fingerprint,
    )  # fmt: skip
    if not counts["test"]:
        raise dataset.DatasetError(
            f"none of the {counted(len(data.items), 'labelled image')} is in the test set, to which the hash of the "
            "patient identifier assigns whole patients: more patients are needed"
        )
    return [plan.key(data) for plan in plans]


@step("train challenger", run_name="train {plan.recipe.name}")
def train(run: Retraining, plan: Plan, whole: Dataset) -> Challenger | None:
    """Train a recipe in a process of its own and register what comes of it.

    Returns:
        The challenger; None where the training failed, or the artifact of an earlier one is lost or damaged: that is
        kept for the report and does not stop the others.

    Raises:
        StorageError: the store as a whole cannot be used.
    """
    name, key, data = plan.recipe.name, plan.key(whole), plan.data(whole)
    if known := run.retrying_database(model_versions.by_training_key, run.pool, key):
        run.log.info("retraining %s: %s was trained before, as %s", run.run_id, name, known)
        return trained_before(run, name, known)
    if others := len(whole.items) - len(data.items):
        run.note([f"{name}: {counted(others, 'image')} not learned from: {dataset.OTHER_VIEW}"])
    settings, epochs = run.settings, plan.epochs or plan.recipe.epochs
    folder = jobs.job_folder(settings.cache, key)
    jobs.prepare_training(
        folder, plan.job(whole, settings),
        lambda file: arrays.assemble(file, data.contents, plan.recipe.preprocessing, settings.cache),
    )  # fmt: skip
    progress = Progress(f"training-{name}", epochs)

    def tell(epoch: int, figures: dict[str, float]) -> None:
        words = f"epoch {epoch} of {epochs}: " + ", ".join(f"{what} {value:.3f}" for what, value in figures.items())
        run.log.info("retraining %s: %s, %s", run.run_id, name, words)
        with run.best_effort("progress could not be shown"):
            progress.show(epoch / epochs, words)

    # The budget ends it between two epochs; this, where it hangs within one.
    limit_s = 60 * settings.training_minutes * HANGS_AFTER if settings.training_minutes else None
    outcome = jobs.train_in_worker(folder, tell, limit_s)
    run.note([f"{name}: {words}" for words in outcome.notes])
    if outcome.state != "trained":
        run.failures[name] = f"{outcome.state}: {outcome.message}"
        run.log.error("retraining %s: %s gave no challenger: %s", run.run_id, name, run.failures[name])
        return None
    return enrol(run, whole, plan, outcome.message)


def trained_before(run: Retraining, name: str, known: str) -> Challenger | None:
    """Return the challenger that an earlier run trained; None where its artifact is not what it was."""
    version = run.retrying_database(model_versions.require, run.pool, known)
    try:
        model_versions.fetch(run.store, version, run.settings.cache)
        return Challenger(version, None)
    except artifact.ArtifactError as error:
        why = worker.without_paths(str(error))
    # Not trained anew: a model version's row names one artifact for ever, and the key of its training is taken.
    run.failures[name] = (
        f"{known} was trained before, and its artifact is lost or damaged: {why}; or train it with another --seed"
    )
    run.log.error("retraining %s: %s gave no challenger: %s", run.run_id, name, run.failures[name])
    return None


def enrol(run: Retraining, whole: Dataset, plan: Plan, message: str) -> Challenger:
    """Register a trained model under its training's key."""
    key, data = plan.key(whole), plan.data(whole)
    folder = jobs.job_folder(run.settings.cache, key)
    metadata = artifact.read_metadata(folder / ARTIFACT)
    test = [place for place, split in enumerate(data.splits) if split == "test"]
    answers = jobs.held_out_answers(folder, test) if test else None
    name = run.retrying_database(
        model_versions.register, run.pool, run.store, folder / ARTIFACT, metadata, training_key=key
    )
    run.log.info("retraining %s: %s is registered: %s", run.run_id, name, message)
    jobs.discard(folder)
    return Challenger(run.retrying_database(model_versions.require, run.pool, name), answers)
