"""Adds the jobs whose clients wait on an open connection, so that a repeated request finds the job of the first one."""

import sqlalchemy as sa

from alembic import op

revision = "20261204"
down_revision = "20261203"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "awaited_job",
        sa.Column(
            "transcription_id", sa.Uuid(), sa.ForeignKey("transcription.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("awaited_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kept_until", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("awaited_job_request", "awaited_job", ["caller", "request_hash"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("awaited_job")
