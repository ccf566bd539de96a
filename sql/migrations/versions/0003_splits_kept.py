"""Splits cannot be emptied either; what a decision's failures are."""

from alembic import op

from sql.library import migration

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Refuse to truncate the splits."""
    op.get_bind().exec_driver_sql(migration("0003_splits_kept.up"))


def downgrade() -> None:
    """Undo it."""
    op.get_bind().exec_driver_sql(migration("0003_splits_kept.down"))
