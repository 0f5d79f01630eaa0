"""Adds why a worker cannot use models at the moment.

Older code writes nothing there, so its workers seem to be able to use all their models.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "20261222"
down_revision = "20261221"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("worker", sa.Column("troubles", postgresql.JSONB(), server_default="{}", nullable=False))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("worker", "troubles")
