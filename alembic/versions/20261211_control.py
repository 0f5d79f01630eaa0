"""Adds retries, and the tables of what operators pause and which workers drain.

Older code knows neither: it neither obeys a pause nor registers its workers.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "20261211"
down_revision = "20261209"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("transcription", sa.Column("retry_of", sa.Uuid(), nullable=True))
    op.create_index(
        "transcription_retry",
        "transcription",
        ["retry_of", "id"],
        postgresql_where=sa.text("retry_of IS NOT NULL"),
    )
    op.create_table(
        "pause",
        sa.Column("what", sa.Text(), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("what IN ('claims', 'intake')", name="pause_what"),
    )
    op.create_table(
        "worker",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("models", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("drain_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("drain_by", sa.Text(), nullable=True),
        sa.Column("drain_reason", sa.Text(), nullable=True),
        sa.Column("drain_grace_seconds", sa.Float(), nullable=True),
        sa.Column("drain_exits", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("state IN ('working', 'draining', 'drained')", name="worker_state"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("worker")
    op.drop_table("pause")
    op.drop_index("transcription_retry", "transcription")
    op.drop_column("transcription", "retry_of")
