"""Keeps why a job waits for another try, so that clients see it before the job ends."""

import sqlalchemy as sa

from alembic import op

revision = "20261202"
down_revision = "20261130"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("transcription", sa.Column("retry_code", sa.Text(), nullable=True))
    op.add_column("transcription", sa.Column("retry_message", sa.Text(), nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("transcription", "retry_message")
    op.drop_column("transcription", "retry_code")
