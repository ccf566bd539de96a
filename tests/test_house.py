"""The house: which way imports run, what models may know, how large a folder and a file may be. Needs no server."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
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
DOOR = "tasks/radiographs/fetching.py"
"""Strangers' bytes become pixels there and nowhere else."""
LINES = 400
FILES_IN_A_FOLDER = 14
"""Beside `__init__.py`. More than that, and a stranger scrolls instead of reading."""
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FOLDERS = sorted({path.parent for path in [*FILES, *TESTS]} - {ROOT / "sql" / "migrations" / "versions"})
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


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


def our_imports(module: str) -> set[str]:
    """Modules of ours that a module imports; those for type checking and those inside functions count too."""
    path = MODULES[module]
    # `from tasks.radiographs import fetching` is a module, `from models.files import sha256_of` a name in one.
    found = {one if one in MODULES else one.rpartition(".")[0] for one in imports(path)}
    return {one for one in found if one in MODULES} - {module}


def package(module: str) -> str:
    """Return the part of a room that a module lies in: tasks.scoring for tasks.scoring.runs."""
    return ".".join(module.split(".")[:2])


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Return the names of one circle, in order; an empty list where there is none."""
    try:
        tuple(TopologicalSorter(arrows).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert not circle({module: our_imports(module) for module in MODULES})


@pytest.mark.parametrize("room", ["tasks", "models"])
def test_packages_inside_a_room_import_in_one_direction(room: str) -> None:
    arrows: dict[str, set[str]] = {}
    for module in (one for one in MODULES if one.startswith(f"{room}.")):
        arrows.setdefault(package(module), set()).update(
            package(one)
            for one in our_imports(module)
            if one.startswith(f"{room}.") and package(one) != package(module)
        )
    assert not circle(arrows)


def test_a_circle_is_found_and_named() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_folder_holds_no_more_files_than_one_takes_in_at_a_glance(folder: Path) -> None:
    code = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(code) <= FILES_IN_A_FOLDER


@pytest.mark.parametrize("path", [path for path in TESTS if path.name.startswith("test_")], ids=name)
def test_tests_lie_where_the_code_lies(path: Path) -> None:
    assert (ROOT / path.parent.relative_to(ROOT / "tests")).is_dir()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_run_one_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert tops(imports(path)) & {*ROOMS, "tests"} <= MAY_IMPORT[room]


def test_flows_know_nothing_of_the_commands_that_start_them() -> None:
    below = [path for path in (ROOT / "flows").glob("*.py") if path.name != "cli.py"]
    assert not [name(path) for path in below if any(one.startswith("flows.commands") for one in imports(path))]


def test_settings_import_nothing_of_ours() -> None:
    assert not tops(imports(ROOT / "infra" / "settings.py")) & set(ROOMS)


@pytest.mark.parametrize("path", [path for path in FILES if name(path).startswith("models/")], ids=name)
def test_models_know_no_store_no_database_no_orchestrator_and_no_backend(path: Path) -> None:
    known = tops(imports(path)) & FOREIGN_TO_MODELS
    if name(path) in BACKEND_PROBES:
        known -= {"tensorflow", "torch", "jax"}
        assert not tops(imports(path, everywhere=False)) & FOREIGN_TO_MODELS
    assert not known


@pytest.mark.parametrize("path", [path for path in FILES if name(path).startswith(("flows/", "tasks/"))], ids=name)
def test_radiographs_are_decoded_behind_one_door(path: Path) -> None:
    decoders = {"models.radiographs.radiograph", "models.radiographs.radiograph.read", "cv2.imdecode", "PIL.Image"}
    assert not imports(path) & decoders or name(path) == DOOR


@pytest.mark.parametrize("path", [path for path in FILES if name(path).startswith("tasks/")], ids=name)
def test_tasks_are_plain_functions_that_know_no_orchestrator(path: Path) -> None:
    assert not tops(imports(path)) & FOREIGN_TO_TASKS


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=name)
def test_a_file_is_one_subject_and_no_longer_than_that_takes(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


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

    found = [path.stem for path in (ROOT / "sql" / folder).rglob("*.sql")]
    files = set(found)
    assert len(files) == len(found), "two files of one name"
    if folder == "views":
        assert files == set(VIEWS)
        return
    calls = [node for path in FILES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = {str(given.value) for call in calls for given in call.args if isinstance(given, ast.Constant)}
    assert files <= named, "a query that nothing loads"


@pytest.mark.parametrize("path", [path for path in FILES if name(path).startswith(("tasks/", "flows/"))], ids=name)
def test_every_statement_that_is_executed_comes_from_a_sql_file(path: Path) -> None:
    executing = {"execute", "executemany", "exec_driver_sql", "copy_expert", "scalar", "scalars"}
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and call.args and isinstance(call.func, ast.Attribute):
            statement = call.args[0]
            from_file = isinstance(statement, ast.Call) and ast.unparse(statement.func) == "query"
            executed = call.func.attr in executing or ast.unparse(call.func) == "sa.text"
            assert from_file or not executed, f"line {call.lineno}: SQL belongs in sql/queries/"
