"""Counts apart how often a job's slow fetch made way for another API key. That is not a trouble of its worker."""

import sqlalchemy as sa

from alembic import op

revision = "20261130"
down_revision = "20261129"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # The default is needed during a rolling deploy, when processes of the previous version insert jobs without it.
    op.add_column("transcription", sa.Column("slow_fetches", sa.SmallInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("transcription", "slow_fetches")
