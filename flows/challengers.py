"""Steps of a retraining up to its challengers: gather labelled images, decode them, and train each recipe."""

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
"""Multiple of CXR_TRAINING_MINUTES after which a hanging training is stopped."""
WORKBENCH = "comparison"
"""Folder for the arrays of a comparison, next to the folders of the trainings; removed with them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One training to do."""

    recipe: Recipe
    seed: int
    epochs: int | None
    """Replaces the recipe's number of epochs; None keeps it."""

    def data(self, whole: Dataset) -> Dataset:
        """The images that it trains and is tested on. The test set is always complete."""
        return dataset.with_views(whole, self.recipe.views)

    def job(self, whole: Dataset, settings: Settings) -> TrainingJob:
        """The job for a worker process: this training on a whole data set."""
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
        """The key of this training on a whole data set; the same training is not done twice."""
        return jobs.job_key(self.data(data).learning_fingerprint, self.recipe, self.seed, self.epochs)


@dataclass(frozen=True, slots=True)
class Challenger:
    """A trained model version that competes with the champion."""

    version: ModelVersion
    answers: NDArray[np.float32] | None
    """(test images, classes) from its training, to choose which images to explain; None: an earlier run trained it."""


@step("gather labels")
def gather(run: Retraining) -> Dataset:
    """Match waiting labels with their images, assign splits to new images, and load the labelled images."""
    resolved = run.retrying_database(importing.resolve_waiting, run.pool, run.store, run.settings)
    if resolved.labels:
        run.log.info(
            "retraining %s: %s that waited matched their images", run.run_id, counted(resolved.labels, "label")
        )
    settings = run.settings
    assigned = run.retrying_database(splits.assign, run.pool, settings.validation_share, settings.test_share)
    if new := sum(assigned.new.values()):
        run.log.info("retraining %s: %s got a permanent split", run.run_id, counted(new, "image"))
    return load(run)


def load(run: Retraining) -> Dataset:
    """Load the usable labelled images. Images that are no longer in the bucket are left out."""
    data = run.retrying_database(dataset.load, run.pool, run.settings.bucket)
    wanted = {(item.bucket_key, item.etag) for item in data.items}
    present = {(one.key, one.etag) for page in run.store.list("") for one in page if (one.key, one.etag) in wanted}
    gone = [place for place, item in enumerate(data.items) if (item.bucket_key, item.etag) not in present]
    return dataset.without_rare_classes(dataset.without(data, gone, dataset.OBJECT_MISSING) if gone else data)


@step("decode images")
def decode(run: Retraining, data: Dataset, plans: Sequence[Plan]) -> Dataset:
    """Decode images that the cache lacks. Leave out unreadable images and near-duplicates of a stricter split.

    Returns:
        The data set, with a cached array for each item and each recipe's preprocessing.
    """
    specs = {plan.recipe.preprocessing.hash: plan.recipe.preprocessing for plan in plans}
    for spec in specs.values():
        data = keep(run, data, spec)
    first, readable = next(iter(specs.values())), {item.content_sha256 for item in data.items}
    # An image is compared only with its nearest neighbours, so the search repeats among the images that are left.
    # Phantoms are variations of one drawing and all look alike, so made data is not searched.
    while not data.made and find_near_duplicates(run, data, first):
        data = load(run)
        gone = [place for place, item in enumerate(data.items) if item.content_sha256 not in readable]
        data = dataset.without(data, gone, UNREADABLE) if gone else data
    if data.near_duplicates:
        words = f"{counted(data.near_duplicates, 'pair')} of images in different splits show the same picture"
        run.note([f"{words}: images that would let a model memorise test images are left out"])
    return data


def find_near_duplicates(run: Retraining, data: Dataset, spec: PreprocessingSpec) -> int:
    """Find images in different splits that show the same picture; return the number of new pairs."""
    cache, contents = run.settings.cache, data.contents
    images = arrays.assemble(jobs.job_folder(cache, WORKBENCH) / IMAGES, contents, spec, cache)
    pairs = near_duplicates.find(images, data.splits)
    return run.retrying_database(splits.store_near_duplicates, run.pool, contents, pairs)


def keep(run: Retraining, data: Dataset, spec: PreprocessingSpec) -> Dataset:
    """Make sure that each item has a cached array; leave out and count the items without one."""
    progress = Progress("decoding-progress", len(data.items))
    every = max(1, len(data.items) // 20)

    def tell(done: int) -> None:
        if done % every == 0 or done == len(data.items):
            with run.best_effort("progress could not be shown"):
                progress.show(
                    done / len(data.items), f"{done:,} of {counted(len(data.items), 'labelled image')} decoded"
                )

    settings = run.settings
    kept = arrays.keep(
        data.items, run.store, spec, settings.cache, Limits(settings.max_bytes, settings.max_pixels),
        workers=settings.intake_threads, on_image=tell,
    )  # fmt: skip
    run.log.info(
        "retraining %s: %s ready, %d decoded now", run.run_id, counted(len(kept.places), "array"), kept.decoded
    )
    if not kept.unreadable:
        return data
    run.note([f"{counted(images, 'labelled image')} left out: {reason}" for reason, images in kept.unreadable.items()])
    readable = set(kept.places.tolist())
    return dataset.without(data, [place for place in range(len(data.items)) if place not in readable], UNREADABLE)


def describe(run: Retraining, data: Dataset, plans: Sequence[Plan]) -> list[str]:
    """Write on the retraining's row what it learns from; return the keys of the trainings.

    Raises:
        DatasetError: the test set is empty.
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
            f"none of the {counted(len(data.items), 'labelled image')} is in the test set. The hash of the patient "
            "identifier assigns whole patients to it: more patients are needed"
        )
    return [plan.key(data) for plan in plans]


@step("train challenger", run_name="train {plan.recipe.name}")
def train(run: Retraining, plan: Plan, whole: Dataset) -> Challenger | None:
    """Train a recipe in a process of its own and register the model.

    Returns:
        The challenger. None if the training failed, or if the artifact of an earlier training is lost or damaged: the
        reason goes into the report, and the other recipes still train.

    Raises:
        StorageError: the store as a whole cannot be used.
    """
    name, key, data = plan.recipe.name, plan.key(whole), plan.data(whole)
    if known := run.retrying_database(model_versions.by_training_key, run.pool, key):
        run.log.info("retraining %s: %s was trained before, as %s", run.run_id, name, known)
        return trained_before(run, name, known)
    if others := len(whole.items) - len(data.items):
        run.note([f"{name}: {counted(others, 'image')} left out of training: {dataset.OTHER_VIEW}"])
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

    # The budget ends a training between two epochs. This limit ends one that hangs within an epoch.
    limit_s = 60 * settings.training_minutes * HANGS_AFTER if settings.training_minutes else None
    outcome = jobs.train_in_worker(folder, tell, limit_s)
    run.note([f"{name}: {words}" for words in outcome.notes])
    if outcome.state != "trained":
        run.failures[name] = f"{outcome.state}: {outcome.message}"
        run.log.error("retraining %s: %s gave no challenger: %s", run.run_id, name, run.failures[name])
        return None
    return enrol(run, whole, plan, outcome.message)


def trained_before(run: Retraining, name: str, known: str) -> Challenger | None:
    """Return the challenger that an earlier run trained; None if its artifact is lost or damaged."""
    version = run.retrying_database(model_versions.require, run.pool, known)
    try:
        model_versions.fetch(run.store, version, run.settings.cache)
        return Challenger(version, None)
    except artifact.ArtifactError as error:
        why = worker.without_paths(str(error))
    # It is not trained again: a model version's row names one artifact permanently, and its training key is taken.
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
