"""Adds what limits, usage and the audit need.

Triggers write the entries of usage, so that processes of an older version, which do not know them, count too. The jobs
that have ended until now are counted before `transcription` is locked, except those of the last minute.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision = "20261214"
down_revision = "20261213"

COUNT_ENDED = """
    INSERT INTO usage_sum AS total (day, tenant, caller, model, completed, failed, cancelled, audio_seconds)
    SELECT (completed_at AT TIME ZONE 'UTC')::date, tenant, caller, coalesce(options ->> 'model', ''),
           count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'),
           count(*) FILTER (WHERE status = 'cancelled'),
           coalesce(sum(duration) FILTER (WHERE status = 'completed'), 0)
    FROM transcription WHERE completed_at {when} GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, tenant, caller, model) DO UPDATE SET
        completed = total.completed + excluded.completed,
        failed = total.failed + excluded.failed,
        cancelled = total.cancelled + excluded.cancelled,
        audio_seconds = total.audio_seconds + excluded.audio_seconds
"""
# No transaction takes as long as a minute, so no further job will have ended before this time.
SETTLED = "now() - interval '1 minute'"
ENTER = """
    CREATE FUNCTION enter_usage() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO usage_entry (day, tenant, caller, model, status, audio_seconds)
        VALUES ((NEW.completed_at AT TIME ZONE 'UTC')::date, NEW.tenant, NEW.caller,
            coalesce(NEW.options ->> 'model', ''), NEW.status,
            CASE NEW.status WHEN 'completed' THEN coalesce(NEW.duration, 0) ELSE 0 END);
        RETURN NULL;
    END $$
"""
TRIGGERS = (
    """
    CREATE TRIGGER enter_usage AFTER UPDATE OF completed_at ON transcription FOR EACH ROW
    WHEN (OLD.completed_at IS NULL AND NEW.completed_at IS NOT NULL) EXECUTE FUNCTION enter_usage()
    """,
    """
    CREATE TRIGGER enter_new_usage AFTER INSERT ON transcription FOR EACH ROW
    WHEN (NEW.completed_at IS NOT NULL) EXECUTE FUNCTION enter_usage()
    """,
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "request_count",
        sa.Column("subject", sa.Text(), primary_key=True),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "usage_sum",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("tenant", sa.Text(), primary_key=True),
        sa.Column("caller", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("audio_seconds", sa.Float(), nullable=False),
    )
    op.create_table(
        "usage_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("audio_seconds", sa.Float(), nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), primary_key=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("transcription_id", sa.Uuid(), nullable=True),
        sa.Column("about", sa.Text(), nullable=True),
        sa.Column("details", JSONB(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
    )
    op.create_index(
        "audit_by_call",
        "audit",
        ["transcription_id", "at"],
        postgresql_where=sa.text("transcription_id IS NOT NULL"),
    )
    op.create_index("audit_by_caller", "audit", ["caller", "at", "id"])
    _execute(ENTER)
    _execute(COUNT_ENDED.format(when=f"<= {SETTLED}"))
    op.execute("LOCK TABLE transcription IN SHARE ROW EXCLUSIVE MODE")
    for trigger in TRIGGERS:
        op.execute(trigger)
    _execute(COUNT_ENDED.format(when=f"> {SETTLED}"))
    _replace_waiting(["tenant", "caller"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _replace_waiting(["caller"])
    for trigger in ("enter_usage", "enter_new_usage"):
        op.execute(f"DROP TRIGGER {trigger} ON transcription")
    op.execute("DROP FUNCTION enter_usage")
    for table in ("audit", "usage_entry", "usage_sum", "request_count"):
        op.drop_table(table)


def _replace_waiting(columns: list[str]) -> None:
    """Makes the new index before it drops the old one, because the drop locks the table for reads too."""
    op.create_index(
        "transcription_waiting_new",
        "transcription",
        columns,
        postgresql_where=sa.text("status = 'pending' AND batch_id IS NULL"),
    )
    op.drop_index("transcription_waiting", "transcription")
    op.execute("ALTER INDEX transcription_waiting_new RENAME TO transcription_waiting")


def _execute(statement: str) -> None:
    """Run SQL whose colons are not parameters."""
    op.get_bind().exec_driver_sql(statement)
