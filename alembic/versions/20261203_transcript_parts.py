"""Adds the text of running jobs, for clients that read along. Its rows exist only while their job runs."""

import sqlalchemy as sa

from alembic import op

revision = "20261203"
down_revision = "20261202"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "transcript_part",
        sa.Column("transcription_id", sa.Uuid(), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.Column("segments", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["transcription_id"], ["transcription.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("transcription_id", "lease_token", "number"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("transcript_part")
