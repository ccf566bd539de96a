"""Labels with their history, splits, retrainings and their decisions, drift, triggers, shadows."""

from alembic import op

from sql.library import migration

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables."""
    op.get_bind().exec_driver_sql(migration("0002_retraining.up"))


def downgrade() -> None:
    """Drop them; labels keep what their sources say now."""
    op.get_bind().exec_driver_sql(migration("0002_retraining.down"))
