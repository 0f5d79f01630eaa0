"""Creates the tables of transcriptions, transcripts, events, deliveries and webhook secrets."""

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
        sa.Column("webhook_urls", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("callback_urls", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
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
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
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
        sa.Column("decoding_seconds", sa.Float(), nullable=True),
        sa.Column("transcribing_seconds", sa.Float(), nullable=True),
        sa.CheckConstraint("(status = 'in_progress') = (lease_token IS NOT NULL)", name="transcription_lease"),
        sa.CheckConstraint(
            "(status IN ('cancelled', 'completed', 'failed')) = (completed_at IS NOT NULL)", name="transcription_final"
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
        postgresql_where=sa.text("status = 'pending' AND audio_key IS NOT NULL"),
    )
    op.create_index(
        "transcription_claim_to_fetch",
        "transcription",
        ["priority", "caller", "run_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'pending' AND audio_key IS NULL"),
    )
    op.create_index(
        "transcription_audio",
        "transcription",
        ["audio_key"],
        unique=False,
        postgresql_where=sa.text("audio_key IS NOT NULL"),
    )
    op.create_index(
        "transcription_ended",
        "transcription",
        ["completed_at"],
        unique=False,
        postgresql_where=sa.text("completed_at IS NOT NULL"),
    )
    op.create_index(
        "transcription_kept_audio",
        "transcription",
        ["completed_at"],
        unique=False,
        postgresql_where=sa.text("audio_key IS NOT NULL AND completed_at IS NOT NULL"),
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
    _create_outbox()


def _create_outbox() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("transcription_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["transcription_id"], ["transcription.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("transcription_id"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("style", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("style IN ('webhook', 'callback')", name="delivery_style"),
        sa.CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="delivery_status"),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name="delivery_lease"),
        sa.CheckConstraint("status = 'pending' OR lease_token IS NULL", name="delivery_at_rest"),
        sa.CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="delivery_finished"),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "delivery_due",
        "delivery",
        ["host", "next_attempt_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "delivery_leased",
        "delivery",
        ["host"],
        unique=False,
        postgresql_where=sa.text("lease_token IS NOT NULL"),
    )
    op.create_index("delivery_of_event", "delivery", ["event_id"], unique=False)
    op.create_table(
        "delivery_attempt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("status_code", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("response", sa.Text(), nullable=False),
        sa.CheckConstraint("(status_code IS NULL) <> (error IS NULL)", name="delivery_attempt_result"),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("delivery_attempt_of_delivery", "delivery_attempt", ["delivery_id", "id"], unique=False)
    op.create_table(
        "webhook_secret",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "webhook_secret_current",
        "webhook_secret",
        [sa.text("(expires_at IS NULL)")],
        unique=True,
        postgresql_where=sa.text("expires_at IS NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("webhook_secret", "delivery_attempt", "delivery", "event"):
        op.drop_table(table)
    op.drop_table("transcript")
    op.drop_index(
        "transcription_kept_audio",
        table_name="transcription",
        postgresql_where=sa.text("audio_key IS NOT NULL AND completed_at IS NOT NULL"),
    )
    op.drop_index("transcription_audio", table_name="transcription", postgresql_where=sa.text("audio_key IS NOT NULL"))
    op.drop_index(
        "transcription_ended", table_name="transcription", postgresql_where=sa.text("completed_at IS NOT NULL")
    )
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
    for index, which in (("transcription_claim_to_fetch", "IS NULL"), ("transcription_claim", "IS NOT NULL")):
        pending = sa.text(f"status = 'pending' AND audio_key {which}")
        op.drop_index(index, table_name="transcription", postgresql_where=pending)
    op.drop_index("transcription_by_status", table_name="transcription")
    op.drop_index("transcription_by_external_id", table_name="transcription")
    op.drop_table("transcription")
