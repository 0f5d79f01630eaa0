"""Adds how often a worker's own trouble ended an attempt of a job, and the host that the recording is fetched from."""

import sqlalchemy as sa

from alembic import op

revision = "20261127"
down_revision = "20261121"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # During a rolling deploy, processes of the previous version insert jobs without these columns. So one column has a
    # default, and the other may be null.
    op.add_column("transcription", sa.Column("interruptions", sa.SmallInteger(), nullable=False, server_default="0"))
    op.add_column("transcription", sa.Column("source_host", sa.Text(), nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("transcription", "source_host")
    op.drop_column("transcription", "interruptions")
