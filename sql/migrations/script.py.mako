"""${message}."""

from alembic import op

from sql.library import migration

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """${message}."""
    op.get_bind().exec_driver_sql(migration("${up_revision}_NAME.up"))


def downgrade() -> None:
    """Undo it."""
    op.get_bind().exec_driver_sql(migration("${up_revision}_NAME.down"))
