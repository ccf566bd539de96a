"""The first tables: images, runs, predictions, model versions, promotions."""

from alembic import op

from sql.library import migration

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.get_bind().exec_driver_sql(migration("0001_tables.up"))


def downgrade() -> None:
    """Drop everything."""
    op.get_bind().exec_driver_sql(migration("0001_tables.down"))
