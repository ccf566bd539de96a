"""Reasons as pairs of expectation and words, in place of one text that joins them."""

from alembic import op

from sql.library import migration

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Split the texts into what was found for each expectation."""
    op.get_bind().exec_driver_sql(migration("0004_reasons.up"))


def downgrade() -> None:
    """Join them again."""
    op.get_bind().exec_driver_sql(migration("0004_reasons.down"))
