"""The shadow on trial: which model version scores beside the champion."""

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
    """Let a model version score beside the champion from the next night on.

    Args:
        pool: connections to the database.
        model_version: who shall be on trial.
        reason: why, for ever.
        by: who says so, kept beside the name of the database user, whom several people may share.

    Raises:
        ShadowError: no reason is given, or it is the champion or the shadow already.
        RegistryError: there is no such version.
    """
    _require_reason(reason)
    wanted = model_versions.require(pool, model_version).model_version
    present = model_versions.shadow(pool)
    if present and present.model_version == wanted:
        raise ShadowError(f"{wanted} is the shadow already")
    with database.transaction(pool) as cursor:
        cursor.execute(query("set_shadow"), {"wanted": wanted, "reason": reason, "by": by})
        if cursor.rowcount != 1:
            raise ShadowError(f"{wanted} is the champion: it cannot be its own shadow")


def end(pool: sa.Engine, reason: str, *, by: str | None = None) -> str:
    """Let no model version score beside the champion any more; returns which one did. `by` as for `choose`.

    Raises:
        ShadowError: no reason is given, or there is no shadow.
    """
    _require_reason(reason)
    present = model_versions.shadow(pool)
    if present is None:
        raise ShadowError("no model version scores beside the champion")
    with database.transaction(pool) as cursor:
        cursor.execute(query("set_shadow"), {"wanted": None, "reason": reason, "by": by})
    return present.model_version


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise ShadowError("say why: the reason is kept in the history for those who come after")
