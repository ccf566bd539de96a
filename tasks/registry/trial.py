"""The shadow: the model version on trial that scores alongside the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra import database
from sql.library import query
from tasks.registry import model_versions

if TYPE_CHECKING:
    import sqlalchemy as sa


class ShadowError(RuntimeError):
    """This model version cannot be the shadow."""


def choose(pool: sa.Engine, model_version: str, reason: str, *, by: str | None = None) -> None:
    """Let a model version score alongside the champion from the next night on.

    Args:
        pool: connections to the database.
        model_version: the new shadow.
        reason: why; kept permanently in the history.
        by: the person, stored in addition to the database user, which several people may share.

    Raises:
        ShadowError: no reason is given, or the version is already the champion or the shadow.
        RegistryError: there is no such version.
    """
    _require_reason(reason)
    wanted = model_versions.require(pool, model_version).model_version
    present = model_versions.shadow(pool)
    if present and present.model_version == wanted:
        raise ShadowError(f"{wanted} is already the shadow")
    with database.transaction(pool) as cursor:
        cursor.execute(query("set_shadow"), {"wanted": wanted, "reason": reason, "by": by})
        if cursor.rowcount != 1:
            raise ShadowError(f"{wanted} is the champion: it cannot be its own shadow")


def end(pool: sa.Engine, reason: str, *, by: str | None = None) -> str:
    """End the trial: no model version scores alongside the champion. `by` as for `choose`.

    Returns:
        The model version that was the shadow.

    Raises:
        ShadowError: no reason is given, or there is no shadow.
    """
    _require_reason(reason)
    present = model_versions.shadow(pool)
    if present is None:
        raise ShadowError("there is no shadow: no model version scores alongside the champion")
    with database.transaction(pool) as cursor:
        cursor.execute(query("set_shadow"), {"wanted": None, "reason": reason, "by": by})
    return present.model_version


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise ShadowError("give a reason: it is kept in the history")
