"""Adds the tables of analyses. A transcription may have events of analyses beside the event of its own end.

`follow_delivery` ignores the deliveries of such events, because `notify_status` is about the transcription.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision = "20261216"
down_revision = "20261215"

# Also in 20261206_table.py, which made the function without its second condition.
FOLLOW_DELIVERY = """
    CREATE OR REPLACE FUNCTION follow_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        job uuid;
    BEGIN
        SELECT transcription_id INTO job FROM event WHERE id = NEW.event_id{of_transcriptions};
        IF job IS NULL THEN
            RETURN NULL;
        END IF;
        PERFORM FROM polled_job WHERE transcription_id = job FOR NO KEY UPDATE;
        UPDATE polled_job SET notify_status = counted.notify_status, notified_at = counted.notified_at
        FROM (
            SELECT CASE WHEN count(*) FILTER (WHERE attempts > 0 OR lease_token IS NOT NULL) = 0 THEN 'not_notified'
                        WHEN count(*) FILTER (WHERE delivery.status = 'pending') > 0 THEN 'notifying'
                        WHEN count(*) FILTER (WHERE delivery.status = 'failed') > 0 THEN 'notification_failed'
                        ELSE 'notified' END AS notify_status,
                   CASE WHEN bool_and(delivery.status = 'delivered') THEN max(finished_at) END AS notified_at
            FROM delivery WHERE event_id = NEW.event_id AND style NOT IN ('s3', 'folder')
        ) AS counted WHERE transcription_id = job;
        RETURN NULL;
    END $$
"""
OF_TRANSCRIPTIONS = " AND type LIKE 'transcription.%'"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "analysis",
        sa.Column("transcription_id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("wants_judgement", sa.Boolean(), nullable=False),
        sa.Column("waits_for_model", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("is_bulk", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("categories", JSONB(), nullable=True),
        sa.Column("scores", JSONB(), nullable=True),
        sa.Column("judgement", JSONB(), nullable=True),
        sa.Column("dropped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("prompt_version", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("transcription_id"),
        sa.ForeignKeyConstraint(["transcription_id"], ["transcription.id"], ondelete="CASCADE"),
        sa.CheckConstraint("status IN ('pending', 'in_progress', 'completed', 'failed')", name="analysis_status"),
        sa.CheckConstraint("(status = 'in_progress') = (lease_token IS NOT NULL)", name="analysis_lease"),
        sa.CheckConstraint("(status IN ('completed', 'failed')) = (completed_at IS NOT NULL)", name="analysis_final"),
    )
    op.create_index(
        "analysis_due",
        "analysis",
        ["tenant", "waits_for_model", "is_bulk", "run_at", "transcription_id"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "analysis_overdue", "analysis", ["run_at"], postgresql_where=sa.text("status = 'pending' AND NOT is_bulk")
    )
    op.create_index("analysis_running", "analysis", ["tenant"], postgresql_where=sa.text("status = 'in_progress'"))
    op.create_table(
        "language_model_use",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("tenant", sa.Text(), primary_key=True),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
    )
    op.create_index("event_of_transcription", "event", ["transcription_id"])
    op.drop_constraint("event_transcription_id_key", "event")
    _execute(FOLLOW_DELIVERY.format(of_transcriptions=OF_TRANSCRIPTIONS))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _execute(FOLLOW_DELIVERY.format(of_transcriptions=""))
    op.execute("DELETE FROM event WHERE type NOT LIKE 'transcription.%'")
    op.create_unique_constraint("event_transcription_id_key", "event", ["transcription_id"])
    op.drop_index("event_of_transcription", "event")
    op.drop_table("language_model_use")
    op.drop_table("analysis")


def _execute(statement: str) -> None:
    """Run SQL whose colons and percent signs are not parameters."""
    op.get_bind().exec_driver_sql(statement)
