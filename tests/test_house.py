"""The house: which way imports run, what models may know, how long a file may be. Needs no server."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("flows", "tasks", "models", "sql", "infra")
MAY_IMPORT = {
    "flows": {"flows", "tasks", "models", "sql", "infra"},
    "tasks": {"tasks", "models", "sql", "infra"},
    "models": {"models"},
    "sql": {"sql"},
    "infra": {"infra"},
}
FOREIGN_TO_MODELS = {"boto3", "botocore", "prefect", "psycopg2", "sqlalchemy", "tensorflow", "torch", "jax"}
BACKEND_PROBES = {"models/serving/devices.py", "models/networks/grad_cam.py"}
"""They ask the Keras backend in use for what Keras itself cannot: its GPU, a gradient; inside a function only."""
FOREIGN_TO_TASKS = {"prefect"}
LINES, TEST_LINES = 320, 340
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path, *, everywhere: bool = True) -> set[str]:
    """Modules that a file imports, with dots; those inside functions too, or only at its top level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_run_one_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert tops(imports(path)) & {*ROOMS, "tests"} <= MAY_IMPORT[room]


def test_settings_import_nothing_of_ours() -> None:
    assert not tops(imports(ROOT / "infra" / "settings.py")) & set(ROOMS)


@pytest.mark.parametrize("path", [path for path in FILES if name(path).startswith("models/")], ids=name)
def test_models_know_no_store_no_database_no_orchestrator_and_no_backend(path: Path) -> None:
    known = tops(imports(path)) & FOREIGN_TO_MODELS
    if name(path) in BACKEND_PROBES:
        known -= {"tensorflow", "torch", "jax"}
        assert not tops(imports(path, everywhere=False)) & FOREIGN_TO_MODELS
    assert not known


@pytest.mark.parametrize("path", [path for path in FILES if name(path).startswith("tasks/")], ids=name)
def test_tasks_are_plain_functions_that_know_no_orchestrator(path: Path) -> None:
    assert not tops(imports(path)) & FOREIGN_TO_TASKS


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=name)
def test_a_file_is_one_noun_or_one_verb_and_no_longer_than_that_takes(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= (TEST_LINES if path in TESTS else LINES)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_settings_are_never_loaded_at_import(path: Path) -> None:
    class Calls(ast.NodeVisitor):
        found = False

        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            """Calls inside a function happen when it is called."""

        visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef  # type: ignore[assignment] # noqa: N815 - as above

        def visit_Call(self, node: ast.Call) -> None:
            self.found |= ast.unparse(node.func) in {"Settings", "Settings.load", "boto3.client", "sa.create_engine"}
            self.generic_visit(node)

    calls = Calls()
    calls.visit(ast.parse(path.read_text(encoding="utf-8")))
    assert not calls.found


@pytest.mark.parametrize("folder", ["queries", "views"])
def test_every_sql_file_is_used(folder: str) -> None:
    from sql.library import VIEWS

    files = {path.stem for path in (ROOT / "sql" / folder).glob("*.sql")}
    if folder == "views":
        assert files == set(VIEWS)
        return
    calls = [node for path in FILES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = {str(given.value) for call in calls for given in call.args if isinstance(given, ast.Constant)}
    assert files <= named, "a query that nothing loads"
