"""What `cxr explain` and the heat maps of a night promise: the model's answer, where it looked, and no identifier."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from flows import heatmaps
from infra import database
from models.plots import explanation_picture
from models.radiographs.radiograph import Limits
from tasks.explain import subject
from tasks.training import worker_process
from tests.support.processes.warm import Process, use

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.artifacts import Artifact
    from tests.support.databases import Database
    from tests.support.site import Site

pytestmark = pytest.mark.usefixtures("warm_workers")
NO_IMAGE = b"this is no image, and no night would score it"


@pytest.fixture(scope="module")
def night(module_db: Database, new_site: Callable[..., Site], phantoms: Path) -> Site:
    """A site after a night on phantoms and one file that was quarantined."""
    site = new_site(module_db)
    site.upload(phantoms)
    site.store.write("incoming/doe-jane/broken.png", NO_IMAGE)
    assert site.night().is_completed()
    return site


def some(site: Site) -> tuple[int, str, str]:
    """The id, key and predicted class of a scored image."""
    rows = site.db.rows("select image_id, source_key, predicted_class from cxr.predictions order by image_id limit 1")
    image_id, key, predicted = rows[0]
    return image_id, key, predicted


def pictures(page: str) -> list[str]:
    return re.findall(r'<img src="data:image/jpeg;base64,[^"]+" alt="([^"]+)"', page)


def test_an_image_is_explained_by_its_key_on_a_page_that_does_not_name_it(
    night: Site, champion: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image_id, key, predicted = some(night)
    answer = night.cxr("explain", key)
    assert answer.exit_code == 0, (answer.output, answer.exception)
    (file,) = tmp_path.iterdir()
    assert file.name == f"explanation-image-{image_id}.html"
    assert file.stat().st_mode & 0o077 == 0, "patient data opens for its owner only"
    page = file.read_text()
    assert pictures(page) == ["The radiograph as the model sees it", f"The same with the heat map for {predicted}"]
    for words in (champion.metadata.model_version, "this answer agrees", "Made data", "Adebayo", "Research use"):
        assert words in page
    assert "this answer agrees" in answer.output
    assert str(file.name) in answer.output
    stem = key.rpartition("/")[2].partition(".")[0]
    assert [text for text in (page, answer.output, file.name) if key in text or stem in text] == []
    assert "script" not in page


def test_a_file_of_this_machine_is_explained_as_its_content_was_scored_and_another_class_on_request(
    night: Site, champion: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    source, target = next(phantoms.glob("*/*.png")), tmp_path / "one.png"
    asked = [part for name in champion.metadata.classes[:2] for part in ("--class", name)]
    version = champion.metadata.model_version
    answer = night.cxr("explain", str(source), *asked, "--version", version, "--save", str(target))
    assert answer.exit_code == 0, (answer.output, answer.exception)
    assert "this answer agrees" in answer.output
    assert re.search(r"^content [0-9a-f]{12}, read from the file$", answer.output, re.MULTILINE)
    assert source.stem not in answer.output.replace(str(target), "")
    data = target.read_bytes()
    assert data.startswith(b"\x89PNG")
    panels = int.from_bytes(data[16:20], "big") / explanation_picture.DOTS_PER_INCH / explanation_picture.PANEL_INCHES
    assert round(panels) in (4, 5), "the radiograph, the predicted class, two classes or one more, the bars"
    assert b"tEXt" not in data


def test_an_id_a_key_and_a_file_of_the_same_image_are_read_as_the_same_content(
    night: Site, champion: Artifact, tmp_path: Path
) -> None:
    image_id, key, _ = some(night)
    (tmp_path / "copy.png").write_bytes(night.store.read(key))
    pool = database.engine(night.settings.database)
    spec = champion.metadata.preprocessing
    subjects = [
        subject.validate_image(subject.read_named_image(pool, night.store, night.settings, named, spec), Limits())
        for named in (str(image_id), key, str(tmp_path / "copy.png"))
    ]
    pool.dispose()
    assert len({one.content for one in subjects}) == 1
    named = f"content {subjects[0].content[:12]}"
    assert [one.name for one in subjects] == [f"image {image_id}", f"image {image_id}", named]
    assert [one.description for one in subjects] == [f"image {image_id}", "the object", "the file"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("incoming/doe-jane/broken.png", "a night would quarantine it (format: it is not an image"),
        ("incoming/doe-jane/nothing.png", "no image in the bucket has this key or id, and no file"),
        ("987654321", "no image in this bucket has this id"),
        ("x" * 5000, "no image in the bucket has this key or id, and no file"),
    ],
)
def test_what_no_night_would_score_is_refused_in_words_that_name_nobody(night: Site, key: str, words: str) -> None:
    answer = night.cxr("explain", key)
    assert answer.exit_code == 1
    assert words in str(answer.exception)
    assert "doe-jane" not in str(answer.exception) + answer.output
    assert ("then running the model" in answer.output) == ("broken" in key), "nobody waits for what is not there"


def test_a_class_and_a_version_that_are_unknown_are_said(night: Site) -> None:
    answer = night.cxr("explain", "1", "--class", "FRACTURE")
    assert (answer.exit_code, "choose from COVID-19, NORMAL, PNEUMONIA" in answer.output) == (2, True)
    answer = night.cxr("explain", "1", "--version", "resnet-9000")
    assert (answer.exit_code, str(answer.exception)) == (
        1, "there is no model version resnet-9000; analysis.model_versions lists them",
    )  # fmt: skip


def again(night: Site, phantoms: Path, prefix: str) -> tuple[dict[str, Any], str]:
    """A night on the same pictures with other bytes, with heat maps asked for; its row and its report."""
    for number, path in enumerate(sorted(phantoms.glob("*/*.*"))):
        night.store.write(f"incoming/{prefix}/{number}.png", path.read_bytes() + prefix.encode())
    night.environment["CXR_EXPLAIN_HIGHEST"] = "4"
    state = night.night()
    night.environment["CXR_EXPLAIN_HIGHEST"] = "0"
    assert state.is_completed(), state.message
    run = night.runs()[-1]
    return run, night.store.read(run["report_key"]).decode()


def test_a_night_whose_explanations_are_killed_is_published_and_says_why_it_has_no_heat_maps(
    night: Site, phantoms: Path, warm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(warm, monkeypatch, started=Process.kill)  # as a machine does that has no memory left
    run, page = again(night, phantoms, "killed")
    assert (run["state"], run["scored"]) == ("completed", 24)
    assert run["published_at"] is not None
    assert "There are no heat maps: killed: the system killed it" in page
    assert "the heat map for" not in page


def test_a_night_does_not_wait_long_for_its_heat_maps(
    night: Site, phantoms: Path, warm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heatmaps, "PATIENCE_S", 0.5)
    monkeypatch.setattr(worker_process, "GRACE_S", 0.1)
    use(warm, monkeypatch, started=lambda process: process.send_signal(signal.SIGSTOP))
    run, page = again(night, phantoms, "late")
    assert run["state"] == "completed"
    assert re.search(r"There are no heat maps: (failed: it did not end|the images could not be fetched)", page)
