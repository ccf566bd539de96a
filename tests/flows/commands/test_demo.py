"""What the demo promises about the images that one gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.commands import demo
from infra.settings import SERVICE_VARIABLES
from models.phantoms.phantom import draw_phantom

if TYPE_CHECKING:
    from pathlib import Path

    from infra.settings import Settings
    from tests.support.site import Site


@pytest.mark.usefixtures("workers_inside")
def test_a_champion_of_phantoms_gives_way_to_one_of_labelled_images_and_few_images_are_warned_about(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / label).mkdir()
        for number in range(demo.MIN_LABELLED):  # without the mark that says that they are made
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), draw_phantom(label, number, 0, 1, (80, 80)) * 255)
    site.environment["CXR_RECIPES"] = "compact-cnn-small"
    with site.surroundings():
        assert not demo.ensure_champion(site.settings, tmp_path)
    said = capsys.readouterr().out
    assert "60 new labels" in said
    assert "WARNING: not fit for use" in said
    ((version, reason),) = site.db.rows("select model_version, reason from cxr.promotions where kind = 'manual'")
    assert "this one did NOT pass the gate" in reason
    assert site.db.value("select model_version from cxr.champion") == version

    with site.surroundings():
        assert not demo.ensure_champion(site.settings, tmp_path)
    assert f"{version} is already the champion" in capsys.readouterr().out
    assert site.db.value("select count(*) from cxr.promotions") == 2


@pytest.mark.parametrize("name", ["missing", "empty", "notes", "notes/notes.txt"])
def test_a_folder_without_images_is_said_before_anything_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("no image")
    for variable in SERVICE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    answer = CliRunner().invoke(app, ["demo", "--images", str(tmp_path / name)])
    assert (answer.exit_code, answer.output) == (1, f"cxr: there are no images in {tmp_path / name}\n")
    assert not (tmp_path / "home").exists()


def test_files_that_a_night_passes_over_are_counted_when_they_are_copied(settings: Settings, tmp_path: Path) -> None:
    assert settings.bucket
    for name in ("1.png", "2", "LABELS.CSV"):
        (tmp_path / name).write_bytes(b"x")
    answer = CliRunner().invoke(app, ["upload", str(tmp_path), "--prefix", "incoming/"])
    assert answer.output == "3 files copied to incoming/, 1 of them no image by its name\n"
