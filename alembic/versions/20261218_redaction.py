"""Lets jobs keep a recording that is redacted, and what it was before, in the store and as a transcript.

An older version does not know the options, and would transcribe such a job without the redaction. So only a worker that
says that it redacts can claim it: for others the update of the row has no effect. If an older process retries such a
job, the new one takes over what is redacted.

On the way down, a redacted recording stays. The original recordings lose their rows, so the search for orphans erases
them, and the original transcripts are gone: an older version would show both to everybody. The triggers stay too,
so that a job that waits goes on waiting until a newer version is back.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision = "20261218"
down_revision = "20261217"

FUNCTION = """
    CREATE OR REPLACE FUNCTION only_if_worker_redacts() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('callscribe.redacts', true) = 'on' THEN
            RETURN NEW;
        END IF;
        RETURN NULL;
    END $$
"""
TRIGGER = """
    CREATE TRIGGER claim_redacted BEFORE UPDATE OF lease_token ON transcription FOR EACH ROW
    WHEN (NEW.status = 'in_progress' AND OLD.status = 'pending'
        AND (jsonb_array_length(NEW.options -> 'redact') > 0 OR jsonb_array_length(NEW.options -> 'redact_terms') > 0))
    EXECUTE FUNCTION only_if_worker_redacts()
"""
# An older version retries a job with the options that it knows. The trigger does not name the column `retry_of`,
# because it stays when that column is dropped on the way down.
KEEPING = """
    CREATE OR REPLACE FUNCTION redacts_as_before() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        before jsonb;
    BEGIN
        SELECT options INTO before FROM transcription WHERE id = (to_jsonb(NEW) ->> 'retry_of')::uuid;
        IF before ? 'redact' THEN
            NEW.options := NEW.options || jsonb_strip_nulls(jsonb_build_object(
                'redact', before -> 'redact', 'redact_terms', before -> 'redact_terms',
                'redact_keep', before -> 'redact_keep'
            ));
        END IF;
        RETURN NEW;
    END $$
"""
KEEPING_TRIGGER = """
    CREATE TRIGGER retry_redacted BEFORE INSERT ON transcription FOR EACH ROW
    WHEN (NOT NEW.options ? 'redact')
    EXECUTE FUNCTION redacts_as_before()
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("transcription", sa.Column("redacted_bytes", sa.BigInteger(), nullable=True))
    op.add_column("transcription", sa.Column("original_audio_key", sa.Text(), nullable=True))
    op.add_column("transcription", sa.Column("redactions", JSONB(none_as_null=True), nullable=True))
    op.create_index(
        "transcription_original_audio",
        "transcription",
        ["original_audio_key"],
        postgresql_where=sa.text("original_audio_key IS NOT NULL"),
    )
    op.create_table(
        "unredacted_transcript",
        sa.Column("transcription_id", sa.Uuid(), nullable=False),
        sa.Column("transcript", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("transcription_id"),
        sa.ForeignKeyConstraint(["transcription_id"], ["transcription.id"], ondelete="CASCADE"),
    )
    op.execute(FUNCTION)
    op.execute("DROP TRIGGER IF EXISTS claim_redacted ON transcription")
    op.execute(TRIGGER)
    op.execute(KEEPING)
    op.execute("DROP TRIGGER IF EXISTS retry_redacted ON transcription")
    op.execute(KEEPING_TRIGGER)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("unredacted_transcript")
    op.execute("UPDATE transcription SET bytes = redacted_bytes WHERE redacted_bytes IS NOT NULL")
    op.drop_index("transcription_original_audio", "transcription")
    op.drop_column("transcription", "original_audio_key")
    op.drop_column("transcription", "redactions")
    op.drop_column("transcription", "redacted_bytes")
