"""Steps of a retraining that compare its challengers with the champion and report the result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flows import artifacts, challengers
from flows.work import step
from infra.version import code_version
from models.gate.decision import decide
from models.radiographs.radiograph import Limits
from models.serving import artifact
from models.serving.artifact import ArtifactError
from models.training import worker
from models.training.job import IMAGES, AnsweringJob
from tasks.datasets import dataset
from tasks.labels import importing
from tasks.pages import publishing
from tasks.pages.wording import counted
from tasks.registry import model_versions, promotion
from tasks.retraining import decisions, evaluation, evidence, model_card, record, verdict
from tasks.training import arrays, jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.approval import Approval
    from flows.challengers import Challenger
    from flows.runs import Retraining
    from models.evaluation.test_set import TestSet
    from models.gate.decision import Contender, Decision, Gate
    from tasks.datasets.dataset import Dataset, Item
    from tasks.registry.model_versions import ModelVersion
    from tasks.retraining.evidence import ComparisonEvidence, ModelEvidence

ANSWER_LIMIT_S = 2 * 3600.0
"""Limit for one model's answers: a process that hangs, in a driver for instance, must not keep the lock."""
EXPLAINED = 2
"""Images of each class to explain when no challenger's answers are known yet."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What the gate was asked and what it answered."""

    data: Dataset
    test: TestSet
    gate: Gate
    decision: Decision
    champion: ModelVersion | None
    """The current champion, whether or not it was compared."""
    asked: ModelVersion | None
    """The champion if it was compared. One trained on phantoms says nothing about radiographs: then floors decide."""
    models: dict[str, ModelEvidence]
    """Evidence by version for each model that answered; the champion comes first if it was compared."""


def current_champion(run: Retraining) -> ModelVersion | None:
    """Return the champion, None if there is none yet. Its artifact is verified now, not after hours of training.

    Raises:
        ArtifactError: the artifact is not the one that was registered.
    """
    try:
        found = run.retrying_database(model_versions.champion, run.pool)
    except model_versions.NoChampionError:
        return None
    model_versions.fetch(run.store, found, run.settings.cache)
    return found


def decided_before(
    run: Retraining, data: Dataset, champion: ModelVersion | None, keys: Sequence[str], rules: Gate
) -> str | None:
    """Say what was already decided about exactly these trainings; None if it is still to be decided.

    Raises:
        DatasetError: the images are made data, and the champion learned from real radiographs.
    """
    if data.made and champion and not champion.made_data:
        raise dataset.DatasetError(
            f"all labels are of made data, and {champion.model_version} learned from radiographs: nothing that "
            "learned from phantoms can take its place"
        )
    known = [run.retrying_database(model_versions.by_training_key, run.pool, key) for key in keys]
    if champion and set(known) == {champion.model_version}:
        return (
            f"{champion.model_version} is the champion and learned from exactly these images, with this recipe and "
            "seed: there is nothing new to learn, and it is not compared with itself"
        )
    if run.dry_run or None in known:
        return None
    name = champion.model_version if champion else None
    others = [key for key, version in zip(keys, known, strict=True) if version != name]
    return run.retrying_database(decisions.already_decided, run.pool, data.fingerprint, name, others, rules.to_dict())


@step("compare")
def compare(
    run: Retraining, data: Dataset, champion: ModelVersion | None, trained: Sequence[Challenger], rules: Gate
) -> Compared:
    """Let champion and challengers answer the same test set, audit for shortcuts, and ask the gate."""
    test = evaluation.test_set(data)
    items = [data.items[place] for place in evaluation.places(data, "test")]
    cache = run.settings.cache
    spec = trained[0].version.preprocessing if trained else None
    baselines = {}
    if spec:
        place = jobs.job_folder(cache, challengers.WORKBENCH) / IMAGES
        baselines = evaluation.baselines(data, arrays.assemble(place, data.contents, spec, cache))
    rows = to_explain(test, trained)
    asked = champion if champion and champion.made_data <= data.made else None
    contenders: dict[str, Contender] = {}
    models: dict[str, ModelEvidence] = {}
    for version in [*([asked] if asked and trained else []), *(one.version for one in trained)]:
        name = version.model_version
        try:
            contenders[name], models[name] = answer(run, version, items, test, rows)
        except (jobs.AnswersMissing, ArtifactError) as error:
            if version is asked:
                raise
            run.failures[name] = f"it was trained and does not answer: {worker.without_paths(str(error))}"
            run.note([f"{name}: {run.failures[name]}"])
    if not any(version in contenders for version in (one.version.model_version for one in trained)) and run.failures:
        why = "; ".join(f"{name}: {words}" for name, words in run.failures.items())
        raise record.RetrainingError(f"there is no challenger to judge, so nothing was decided: {why}")
    decision = decide(
        rules, test, contenders.get(asked.model_version) if asked else None,
        [contenders[one.version.model_version] for one in trained if one.version.model_version in contenders],
        baselines,
    )  # fmt: skip
    run.log.info("retraining %s: gate: %s", run.run_id, decision.sentence)
    return Compared(data, test, rules, decision, champion, asked, models)


def to_explain(test: TestSet, trained: Sequence[Challenger]) -> list[int]:
    """Choose the test images that get heat maps: the same rows for all models."""
    answers = next((one.answers for one in trained if one.answers is not None), None)
    if answers is not None:
        return evidence.rows_to_explain(test, answers)
    of_class = [[row for row, label in enumerate(test.labels) if label == place] for place in range(len(test.classes))]
    return sorted(row for rows in of_class for row in rows[:EXPLAINED])


def answer(
    run: Retraining, version: ModelVersion, items: Sequence[Item], test: TestSet, rows: Sequence[int]
) -> tuple[Contender, ModelEvidence]:
    """Run a registered model on the test set, in a process of its own.

    Raises:
        ArtifactError: the artifact is not the one that was registered.
        AnswersMissing: the model does not answer, or a test image cannot be read.
    """
    cache = run.settings.cache
    folder = model_versions.fetch(run.store, version, cache)
    metadata = artifact.read_metadata(folder)
    limits = Limits(run.settings.max_bytes, run.settings.max_pixels)
    kept = arrays.keep(
        items, run.store, metadata.preprocessing, cache, limits
    )  # the champion's preprocessing may differ
    if kept.unreadable:
        raise jobs.AnswersMissing(f"test images can no longer be read: {'; '.join(kept.unreadable)}")
    contents = [item.content_sha256 for item in items]
    answers = jobs.answer_in_worker(
        jobs.job_folder(cache, f"answer-{version.artifact_sha256}"),
        AnsweringJob(artifact=folder, sha256=version.artifact_sha256, explain=tuple((row, None) for row in rows)),
        lambda file: arrays.assemble(file, contents, metadata.preprocessing, cache),
        ANSWER_LIMIT_S,
    )
    run.log.info(
        "retraining %s: %s answered %s, %.1f ms each (%s)",
        run.run_id, version.model_version, counted(len(items), "test image"), answers.milliseconds, answers.runtime,
    )  # fmt: skip
    contender = evaluation.contender(version, folder, answers, test.classes)
    shown = sorted({*evidence.rows_to_show(test, contender.probabilities), *rows})
    pictures = arrays.load([items[row].content_sha256 for row in shown], metadata.preprocessing, cache)
    about = evidence.ModelEvidence(
        metadata=metadata,
        probabilities=contender.probabilities,
        images=dict(zip(shown, pictures, strict=True)),
        heatmaps=dict(zip(rows, answers.heatmaps, strict=False)),  # empty if the network cannot be explained
    )
    return contender, about


def gathered(run: Retraining, compared: Compared, outcome: str, approval: Approval | None) -> ComparisonEvidence:
    """Collect the evidence for the report, the cards, the artifacts and the decision's row."""
    asked, names = compared.asked, list(compared.models)
    disputes = run.retrying_database(importing.count_disputes, run.pool)
    return evidence.ComparisonEvidence(
        retraining_id=run.run_id,
        decided_at=datetime.now(UTC),
        cause=run.cause,
        dry_run=run.dry_run,
        code_version=code_version(),
        outcome=outcome,
        decision=compared.decision,
        test=compared.test,
        champion=compared.models[asked.model_version] if asked and names else None,
        challengers=[compared.models[name] for name in names if not asked or name != asked.model_version],
        failures=run.failures,
        data=evidence.DataFacts.of(
            compared.data, conflicts=disputes.images, sources=run.retrying_database(importing.count_by_source, run.pool)
        ),
        gate=compared.gate,
        approved_by=approval.name.strip() or None if approval else None,
        because=approval.reason.strip() or None if approval else None,
    )


def report(run: Retraining, found: ComparisonEvidence) -> str | None:
    """Store the comparison report; return its key, None if it could not be written."""
    with run.best_effort("the report could not be written"):
        key = artifacts.write_comparison(run.store, run.settings, run.date, found)
        run.retrying_database(record.report, run.pool, run.run_id, key)
        return key
    return None


def cards(run: Retraining, found: ComparisonEvidence) -> list[str]:
    """Store a card for each judged model; return their versions. A dry run writes no cards."""
    if run.dry_run:
        return []
    with run.best_effort("the model cards could not be written"):
        artifacts.write_cards(run.store, run.settings, found)
    return [model.metadata.model_version for model in found.models]


def for_a_person(run: Retraining, compared: Compared) -> list[str]:
    """Return the reasons why a person must approve the winner; empty if the gate's decision is enough."""
    name = str(compared.decision.winner)
    undone = run.retrying_database(decisions.undone, run.pool, name)
    doubts = [undone] if undone else []
    if compared.asked and set(ours := compared.models[name].metadata.classes) != set(compared.asked.classes):
        doubts.append(f"it predicts {', '.join(ours)}, and the champion {', '.join(compared.asked.classes)}")
    return doubts


def question(run: Retraining, found: ComparisonEvidence) -> str:
    """Store the report so far; return the question for a person in Markdown, with a link to the report."""
    lines = [f"**{verdict.headline(found)}**"]
    lines += [f"- {words}" for words in run.notes]
    if key := report(run, found):
        link = publishing.link(run.settings, key)
        page = f"[The comparison report]({link})" if link.startswith("http") else "The comparison report"
        lines.append(f"{page}: `cxr report {run.run_id}`")
    lines.append("Without an answer in time, the champion stays. Research use, not for diagnosis.")
    return "\n\n".join(lines)


def ruling(run: Retraining, compared: Compared, sentence: str) -> promotion.Ruling:
    """Return what the database records about the decision."""
    decision, test = compared.decision, compared.test
    return promotion.Ruling(
        sentence=sentence,
        champion_version=compared.champion.model_version if compared.champion else None,
        challengers=tuple(decision.checks),
        winner=decision.winner,
        gate=compared.gate.to_dict(),
        evidence=decision.to_dict(),
        data_fingerprint=compared.data.fingerprint,
        test_fingerprint=compared.data.test_fingerprint,
        test_images=len(test),
        test_patients=len(set(test.patients)),
        failures=run.failures,
    )


def show(run: Retraining, found: ComparisonEvidence, report_key: str | None, carded: Sequence[str]) -> None:
    """Show the decision, the tables and the links to the report and the cards in the Prefect UI."""
    places = {version: model_card.key(version) for version in carded}
    artifacts.show_comparison(run.settings, found, report_key, places)
