"""The comparison report: the decision first, every figure, images without names, and one self-contained page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from html import unescape
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.phantoms.phantom import CLASSES
from tasks.retraining import report, summary, verdict
from tasks.retraining.evidence import explained, mistakes, rows_to_explain, rows_to_show
from tests.support.compared import CHAMPION, DATA, IMAGES, SECRET, TEST, N, Page, answers, evidence

if TYPE_CHECKING:
    from infra.storage import Store
    from tasks.retraining.evidence import ComparisonEvidence


@pytest.fixture(scope="module")
def won() -> ComparisonEvidence:
    """One challenger, which is better."""
    return evidence()


@pytest.fixture(scope="module")
def page(won: ComparisonEvidence) -> str:
    return report.render(won, "Europe/Berlin")


def words(html: str) -> str:
    """The text of a page, without images and plots."""
    text = re.sub(r"(?s)<(style|svg)\b.*?</\1>|<[^>]+>", " ", html)
    return re.sub(r"\s+", " ", unescape(text))


def test_the_decision_comes_first_in_one_sentence_with_its_reason(won: ComparisonEvidence, page: str) -> None:
    assert won.decision.outcome == "promote"
    heading = re.search(r"(?s)<h1>(.*?)</h1>", page)
    assert heading
    assert words(heading[1]).strip() == won.decision.sentence
    assert page.index("<h1>") < page.index("<h2>") < page.index("<table")


def test_the_page_stands_alone_and_speaks_to_those_who_do_not_see_it(page: str) -> None:
    read = Page(page)
    assert read.outside == []
    assert read.silent == []
    assert max(read.ids.values()) == 1
    assert not re.search(r"url\((?!#)|@import", page)
    assert "Research use, not for diagnosis" in page
    assert len(page) < 6_000_000


def test_every_check_of_the_gate_is_shown_with_limit_and_measure_the_failed_ones_first(page: str) -> None:
    lost = evidence(0.9, [0.6])
    shown = words(report.render(lost))
    (checks,) = lost.decision.checks.values()
    assert all(check.name in shown for check in checks)
    failed = [check.name for check in checks if not check.passed]
    rows = verdict.check_rows(checks)
    assert [row["rule"] for row in rows[: len(failed)]] == failed
    assert {row["verdict"] for row in rows[len(failed) :]} == {"yes"}
    assert "✗ no" in shown
    assert "✗ no" not in words(page)


def test_a_checks_limit_is_shown_with_its_side_and_its_unit(won: ComparisonEvidence) -> None:
    shown = {row["rule"]: (row["limit"], row["measured"], row["passed"]) for row in summary.checks_table(won)}
    for name, limit, measured in (
        ("another model", "–", "–"),  # noqa: RUF001 - a real dash
        ("test patients", "at least 50", "75"),
        ("gain", "above 0.000", "0.134"),
        ("sensitivity of NORMAL", "at least −0.020", "0.200"),  # noqa: RUF001 - a real minus
        ("possible fall of sensitivity of NORMAL", "above −0.100", "0.101"),  # noqa: RUF001 - a real minus
        ("shortcut audit: the image's border", "above 0.050", "0.500"),
        ("shortcut audit: the image's border, surely", "above 0.000", "0.410"),
        ("floor of the balanced accuracy", "at least 0.600", "0.849"),
        ("floor of the sensitivity of NORMAL", "at least 0.400", "0.798"),
        ("calibration beside the champion", "at most 0.198", "0.112"),
        ("latency", "at most 200.0 ms", "6.0 ms"),
        ("size", "at most 500.0 MB", "5.0 MB"),
        ("too good to be true", "at most 0.995", "0.900"),
    ):
        assert shown[name] == (limit, measured, "✓ yes"), name


def test_a_challenger_too_good_to_be_true_asks_a_person_and_does_not_fail() -> None:
    asked = evidence(0.7, [1.0])
    assert asked.decision.outcome == "ask"
    verdicts = {row["rule"]: row["passed"] for row in summary.checks_table(asked) if row["passed"] != "✓ yes"}
    assert set(verdicts) <= {"too good to be true", "too good a gain to be true"}
    assert set(verdicts.values()) == {"? a person looks"}
    for outcome, begins in (
        ("promoted", "A person must look before compact-cnn"),
        ("would promote", "Dry run: A person must look before compact-cnn"),
        ("declined", "Not promoted, though it passed the gate: A person must look before compact-cnn"),
        ("waiting", "A person must look before compact-cnn"),
    ):
        assert verdict.headline(replace(asked, outcome=outcome)).startswith(begins)


def test_figures_of_both_models_stand_side_by_side_with_their_intervals(won: ComparisonEvidence, page: str) -> None:
    shown = words(page)
    for figures in won.decision.figures.values():
        with_intervals = [figure for name, figure in figures["metrics"].items() if name != "ece"]
        for figure in [*with_intervals, *(row["auc"] for row in figures["per_class"].values())]:
            assert f"{figure['value']:.3f} {figure['low']:.3f} to {figure['high']:.3f}" in shown
    (comparison,) = won.decision.comparisons.values()
    gain = comparison["metrics"]["balanced_accuracy"]
    assert f"{gain['value']:+.3f} {gain['low']:+.3f} to {gain['high']:+.3f}" in shown
    right = comparison["mcnemar"]
    assert f"{right['only_challenger_right']} images are right only for the challenger" in shown
    assert "DeLong" in shown
    assert "the image's border" in shown


def test_each_model_has_all_its_drawings(page: str) -> None:
    labels = " ".join(re.findall(r'aria-label="([^"]+)"', page))
    for name in ("champion", "challenger"):
        for what in ("Reliability diagram of the", "Loss of the", "Accuracy of the"):
            assert f"{what} {name}" in labels
    assert all(f"ROC curves for {name} against the rest" in labels for name in CLASSES)
    assert "Paired differences, the challenger minus the champion: balanced accuracy" in labels
    assert page.count('class="confusion"') == 2


def test_no_text_holds_a_patient_and_images_are_named_by_eight_characters(won: ComparisonEvidence, page: str) -> None:
    texts = [
        page, summary.summary_markdown(won), json.dumps(summary.side_by_side(won)),
        json.dumps(summary.checks_table(won)),
    ]  # fmt: skip
    assert not any(SECRET in text or "c0ffee" in text for text in texts)
    assert f"{mistakes(TEST, won.challengers[0].probabilities)[0].row:08x}" in page


def test_the_surest_mistakes_come_first_with_what_the_other_model_said() -> None:
    probabilities = np.full((N, 3), 0.01, np.float32)
    probabilities[np.arange(N), TEST.labels] = 0.98
    probabilities[7] = np.roll(probabilities[7], 1)
    probabilities[9] = np.roll([0.2, 0.2, 0.6], TEST.labels[9] + 2)
    assert [case.row for case in mistakes(TEST, probabilities)] == [7, 9]
    found = evidence()
    challenger = replace(found.challengers[0], probabilities=probabilities)
    view = report.views(replace(found, challengers=[challenger]))[1]
    assert [one["case"].row for one in view["gallery"]] == [7, 9]
    assert view["mistakes"] == 2
    assert found.champion
    said = found.champion.probabilities[7]
    assert view["gallery"][0]["other"].probability == pytest.approx(float(said.max()))


def test_a_model_with_many_mistakes_fills_no_more_than_its_share_of_the_page() -> None:
    wrong = answers(0.1)
    assert len(mistakes(TEST, wrong)) == 24 < len(mistakes(TEST, wrong, None))
    assert len(explained(TEST, wrong)) <= 4 * len(CLASSES)
    assert set(rows_to_explain(TEST, wrong)) <= set(rows_to_show(TEST, wrong))
    kinds = {(case.true, case.right) for case in explained(TEST, answers(0.7))}
    assert kinds == {(name, right) for name in CLASSES for right in (True, False)}


def test_pictures_may_come_as_an_array_or_by_row_and_may_be_missing(won: ComparisonEvidence, page: str) -> None:
    assert won.champion
    (challenger,) = won.challengers
    by_row = replace(challenger, images={row: IMAGES[row] for row in rows_to_show(TEST, challenger.probabilities)})
    bare = replace(won.champion, images={}, heatmaps={})
    fewer = report.render(replace(won, champion=bare, challengers=[by_row]))
    theirs = 24 + 2 * len(explained(TEST, won.champion.probabilities))
    assert Page(fewer).pictures["img"] == Page(page).pictures["img"] - theirs > 0
    assert "no picture" in fewer


def test_without_a_champion_the_page_says_so_and_leaves_out_what_it_cannot_compare() -> None:
    first = report.render(evidence(None))
    assert "There is no champion to compare with yet." in first
    assert 'id="differences"' not in first
    assert "ROC curves" in first
    assert "Challenger" in words(first)


@pytest.mark.parametrize("champion", [0.8, None])
def test_a_retraining_in_which_every_recipe_failed_has_a_page_too(champion: float | None) -> None:
    failures = {"compact-cnn": "the loss is not a number", "large": "it ran out of memory <script>"}
    failed = evidence(champion, [], failures=failures)
    shown = report.render(failed, "UTC")
    assert all(name in shown for name in failures)
    assert "the loss is not a number" in words(shown)
    assert "<script" not in shown
    assert ("Confusion" in shown) is (champion is not None)
    assert "the loss is not a number" in summary.summary_markdown(failed)
    assert summary.checks_table(failed) == []


def test_of_several_challengers_the_best_is_open_and_the_others_are_one_click_away() -> None:
    several = evidence(0.7, [0.72, 0.92])
    names = verdict.names(several)
    assert [name for name, _ in names] == ["Champion", "Challenger A", "Challenger B"]
    assert names[1][1].metadata.model_version == several.decision.winner
    read = Page(report.render(several))
    assert read.pictures["details"] >= 2
    assert max(read.ids.values()) == 1


@pytest.mark.parametrize(
    ("outcome", "begins"),
    [
        ("promoted", "Promoted"),
        ("would promote", "Dry run: it would promote"),
        ("declined", "Not promoted, though it passed the gate:"),
        ("waiting", "Waiting for a person's word on"),
    ],
)
def test_the_sentence_is_true_of_what_became_of_the_decision(
    won: ComparisonEvidence, outcome: str, begins: str
) -> None:
    said = verdict.headline(replace(won, outcome=outcome))
    assert said.removesuffix(" Not approved.") == f"{begins} {won.decision.winner}: {won.decision.because}."


def test_a_persons_answer_is_on_the_page_and_cannot_become_markup(won: ComparisonEvidence) -> None:
    declined = replace(won, outcome="declined", approved_by="A. <b>Reader</b>", because="too few <script> sites")
    shown = report.render(declined)
    assert "Declined by A. &lt;b&gt;Reader" in shown
    assert "<script" not in shown


def test_made_data_has_a_prominent_warning() -> None:
    made = evidence(made=True)
    shown = report.render(made)
    assert 'class="banner"' in shown
    assert ">made data</b>" in shown
    assert "made data" in summary.summary_markdown(made)


def test_subgroups_too_small_to_report_are_counted_and_neither_named_nor_judged(page: str) -> None:
    shown = words(page)
    assert "By sex" in shown
    assert "Too small to report, by site: 1 group with 4 images in total" in shown
    assert f"Unknown site: {N - 4} images" in shown


def test_data_and_lineage_are_shown(page: str) -> None:
    shown = words(page)
    for told in ("lateral view 7", "Near-duplicates across splits: 3 pairs", "radiology review", DATA.test_fingerprint):
        assert str(told) in shown
    assert CHAMPION in shown
    assert "2026-06-02 01:30:00 Europe/Berlin" in shown


def test_the_summary_begins_with_the_decision_and_ends_with_a_link(won: ComparisonEvidence) -> None:
    text = summary.summary_markdown(won, "https://x.example/report.html", {CHAMPION: "https://x.example/c"})
    assert text.startswith(f"# {won.decision.sentence}")
    assert "[Report](https://x.example/report.html)" in text
    assert f"`{CHAMPION}` ([card](https://x.example/c))" in text
    assert "Report: `s3://b/k`" in summary.summary_markdown(won, "s3://b/k")


def test_the_table_has_both_models_with_intervals(won: ComparisonEvidence) -> None:
    first = summary.side_by_side(won)[0]
    assert list(first) == ["figure", "Champion", "Challenger", "Challenger − champion"]  # noqa: RUF001 - a real minus
    assert first["figure"] == "balanced accuracy (decides)"
    assert re.fullmatch(r"0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)", first["Champion"])


def test_the_report_is_stored_by_day_and_retraining(store: Store, won: ComparisonEvidence) -> None:
    key = report.publish(store, date(2026, 6, 2), won.retraining_id, "<p>ü</p>")
    assert key == f"reports/retraining/2026-06-02/{won.retraining_id}/report.html"
    assert store.read(key).decode() == "<p>ü</p>"
