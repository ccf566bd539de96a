"""SQL texts by name: statements live in .sql files beside this one."""

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
VIEWS = (
    "functions",
    "champion",
    "champions",
    "decisions",
    "model_versions",
    "published",
    "prediction_history",
    "latest_prediction",
    "class_probabilities",
    "night_summary",
    "quarantine",
    "runs",
    "shadows",
    "shadow_comparison",
    "shadow_summary",
    "drift",
    "current_labels",
    "label_conflicts",
    "waiting_labels",
    "glossary",
)  # in the order of their dependence


@cache
def query(name: str) -> str:
    """Return the text of ``<name>.sql`` in ``queries/`` or one of its folders; no two files have the same name.

    Raises:
        KeyError: there is no such file.
    """
    return _query_files()[name].read_text(encoding="utf-8")


@cache
def _query_files() -> dict[str, Path]:
    return {path.stem: path for path in (HERE / "queries").rglob("*.sql")}


def migration(name: str) -> str:
    """Return the statements in ``migrations/versions/<name>.sql``; % is doubled for the driver."""
    return (HERE / "migrations" / "versions" / f"{name}.sql").read_text(encoding="utf-8").replace("%", "%%")


def views() -> list[str]:
    """Return the statements that make the analysts' views, in the order of their dependence."""
    return [(HERE / "views" / f"{name}.sql").read_text(encoding="utf-8").replace("%", "%%") for name in VIEWS]


def dropped_views() -> str:
    """Return the statements that drop the views."""
    return (HERE / "drop_views.sql").read_text(encoding="utf-8")


def roles() -> str:
    """Return the statements that make the roles and grant their rights."""
    return (HERE / "roles.sql").read_text(encoding="utf-8").replace("%", "%%")
