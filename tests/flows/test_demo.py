"""What the demo promises about the images that one gives it. Needs no Prefect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import pytest
from nights import MODEL, Nights
from typer.testing import CliRunner

from flows import demo
from flows.cli import app
from infra.settings import SERVICE_VARIABLES
from models.phantom import draw, write_phantoms
from tasks import registry

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

    from infra.settings import Settings


@pytest.fixture
def phantom_champion(db: Database, nights: Nights) -> Nights:
    """A champion that learned from phantoms, as a first demo leaves it."""
    db.rows("update cxr.model_versions set made_data = true")
    registry.bootstrap(nights.pool, MODEL)
    return nights


def test_a_champion_of_phantoms_gives_way_to_one_of_labelled_images_and_that_one_stays(
    db: Database, settings: Settings, phantom_champion: Nights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(demo, "TRAINING_EPOCHS", 1)
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / label).mkdir()
        for number in range(demo.MIN_LABELLED):  # without the mark that says that they are made
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), draw(label, number, 0, 1, (80, 80)) * 255)
    assert not demo.ensure_champion(settings, tmp_path)
    ((version, reason),) = db.rows("select model_version, reason from cxr.promotions where kind = 'manual'")
    assert registry.champion(phantom_champion.pool).model_version == version
    assert "learned from real images, the one before it from phantoms. Not fit for use: " in reason
    assert "It is champion now" in capsys.readouterr().out

    assert not demo.ensure_champion(settings, tmp_path)
    said = capsys.readouterr().out
    assert f"{version} is champion already" in said
    assert "learned from real images, so the demo leaves it" in said
    assert "cxr promote VERSION --reason '...'" in said
    assert db.value("select count(*) from cxr.promotions") == 2


def test_a_labelled_folder_of_phantoms_replaces_no_champion(
    settings: Settings, phantom_champion: Nights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_phantoms(tmp_path, 6, seed=1, size=80)
    assert demo.ensure_champion(settings, tmp_path)
    assert "holds phantoms too, so it stays" in capsys.readouterr().out
    assert registry.champion(phantom_champion.pool).model_version == MODEL


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
