"""Adds recording batches: many old recordings that are transcribed behind the calls of the day.

A superseded job is a failed one whose recording has got another job of the batch. The index of waiting jobs leaves the
jobs of recording batches out, because they do not count for the queue's limit.
"""

import sqlalchemy as sa

from alembic import op

revision = "20261207"
down_revision = "20261206"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "transcription", sa.Column("superseded", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_index(
        "transcription_of_batch",
        "transcription",
        ["batch_id", "superseded", "status"],
        postgresql_include=["duration"],
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "transcription_waiting",
        "transcription",
        ["caller"],
        postgresql_where=sa.text("status = 'pending' AND batch_id IS NULL"),
    )
    op.create_table(
        "recording_batch",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("fed", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("is_listed", sa.Boolean(), nullable=False),
        sa.Column("listed_after", sa.Text(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("look_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paced_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paced_from", sa.Float(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('receiving', 'feeding', 'running', 'completed', 'cancelled', 'erasing')",
            name="recording_batch_status",
        ),
        sa.UniqueConstraint("caller", "idempotency_key", name="recording_batch_idempotency"),
    )
    for name, column, which in (
        ("recording_batch_open", "look_at", "completed_at IS NULL"),
        ("recording_batch_ended", "completed_at", "completed_at IS NOT NULL"),
    ):
        op.create_index(name, "recording_batch", [column], postgresql_where=sa.text(which))
    op.create_table(
        "recording_batch_row",
        sa.Column("batch_id", sa.Uuid(), sa.ForeignKey("recording_batch.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("transcription_id", sa.Uuid(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
    )
    op.create_index(
        "recording_batch_row_waiting",
        "recording_batch_row",
        ["batch_id", "number"],
        postgresql_where=sa.text("transcription_id IS NULL AND error_code IS NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("recording_batch_row")
    op.drop_table("recording_batch")
    op.drop_index("transcription_waiting", "transcription")
    op.drop_index("transcription_of_batch", "transcription")
    op.drop_column("transcription", "superseded")
