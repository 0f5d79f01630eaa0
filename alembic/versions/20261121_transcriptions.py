"""Transcriptions and their transcripts."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "20261121"
down_revision = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "transcription",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("options", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("notify_status", sa.Text(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("crashes", sa.SmallInteger(), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=True),
        sa.Column("audio_key", sa.Text(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("duration", sa.Float(), nullable=True),
        sa.Column("codec", sa.Text(), nullable=True),
        sa.Column("sample_rate", sa.Integer(), nullable=True),
        sa.Column("channels", sa.SmallInteger(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("warnings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decoding_seconds", sa.Float(), nullable=True),
        sa.Column("transcribing_seconds", sa.Float(), nullable=True),
        sa.CheckConstraint("(status = 'in_progress') = (lease_token IS NOT NULL)", name="transcription_lease"),
        sa.CheckConstraint(
            "(status IN ('cancelled', 'completed', 'failed')) = (completed_at IS NOT NULL)", name="transcription_final"
        ),
        sa.CheckConstraint(
            "notify_status IN ('not_notified', 'notifying', 'notified', 'notification_failed')",
            name="transcription_notify_status",
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'in_progress', 'completed', 'failed', 'cancelled')", name="transcription_status"
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("caller", "idempotency_key", name="transcription_idempotency"),
    )
    op.create_index("transcription_by_external_id", "transcription", ["external_id", "id"], unique=False)
    op.create_index("transcription_by_status", "transcription", ["status", "id"], unique=False)
    op.create_index(
        "transcription_claim",
        "transcription",
        ["priority", "caller", "run_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "transcription_last_chance",
        "transcription",
        ["priority", "run_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'pending' AND crashes >= 2"),
    )
    op.create_index(
        "transcription_running",
        "transcription",
        ["caller"],
        unique=False,
        postgresql_where=sa.text("status = 'in_progress'"),
    )
    op.create_index(
        "transcription_served",
        "transcription",
        ["caller", "started_at"],
        unique=False,
        postgresql_where=sa.text("started_at IS NOT NULL"),
    )
    op.create_table(
        "transcript",
        sa.Column("transcription_id", sa.Uuid(), nullable=False),
        sa.Column("transcript", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["transcription_id"], ["transcription.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("transcription_id"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("transcript")
    op.drop_index(
        "transcription_served", table_name="transcription", postgresql_where=sa.text("started_at IS NOT NULL")
    )
    op.drop_index(
        "transcription_running", table_name="transcription", postgresql_where=sa.text("status = 'in_progress'")
    )
    op.drop_index(
        "transcription_last_chance",
        table_name="transcription",
        postgresql_where=sa.text("status = 'pending' AND crashes >= 2"),
    )
    op.drop_index("transcription_claim", table_name="transcription", postgresql_where=sa.text("status = 'pending'"))
    op.drop_index("transcription_by_status", table_name="transcription")
    op.drop_index("transcription_by_external_id", table_name="transcription")
    op.drop_table("transcription")
