"""What the documents promise: settings, commands, views and links that exist. Needs no server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from flows.cli import app
from infra.settings import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ROW = re.compile(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\|", re.MULTILINE)
COMMAND = re.compile(r"(?:^|[`(/ ])cxr ([a-z]+)(?![\w-]*[=:/])", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")
VIEW = re.compile(r"\b(?:from|join) analysis\.(\w+)")
NOT_COMMANDS = {"type"}


def variable(name: str, field: FieldInfo) -> str:
    """The variable that sets a field, the first one where it has several."""
    choices: Any = field.validation_alias
    return choices.choices[0] if choices else f"CXR_{name.upper()}"


def plain(default: Any) -> str:
    """A default as one would write it into the environment."""
    if default is None:
        return ""
    if isinstance(default, list):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_the_settings_page_names_every_setting_with_its_default() -> None:
    written = dict(ROW.findall((ROOT / "docs" / "settings.md").read_text()))
    written.pop("variable", None)
    known = {variable(name, field): plain(field.get_default()) for name, field in Settings.model_fields.items()}
    assert written == known | {"CXR_HOME": ".cxr"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_names_exists(path: Path) -> None:
    commands: Any = typer.main.get_command(app)
    named = set(COMMAND.findall(path.read_text())) - NOT_COMMANDS
    assert named <= set(commands.commands)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_variable_that_a_document_names_is_a_setting(path: Path) -> None:
    known = {f"CXR_{name.upper()}" for name in Settings.model_fields} | {"CXR_HOME", "CXR_"}
    assert set(re.findall(r"\bCXR_[A-Z0-9_]*", path.read_text())) <= known


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    missing = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_view_that_a_document_queries_exists(path: Path) -> None:
    views = {view for file in (ROOT / "sql" / "views").glob("*.sql") for view in re.findall(
        r"create or replace view analysis\.(\w+)", file.read_text()
    )}  # fmt: skip
    assert set(VIEW.findall(path.read_text())) <= views
