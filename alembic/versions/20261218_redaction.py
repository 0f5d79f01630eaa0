"""Lets jobs keep a recording that is redacted, and what it was before, in the store and as a transcript.

On the way down, a redacted recording stays. The original recordings lose their rows, so the search for orphans erases
them, and the original transcripts are gone: an older version would show both to everybody.
"""

import sqlalchemy as sa

from alembic import op

revision = "20261218"
down_revision = "20261217"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("transcription", sa.Column("redacted_bytes", sa.BigInteger(), nullable=True))
    op.add_column("transcription", sa.Column("original_audio_key", sa.Text(), nullable=True))
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


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("unredacted_transcript")
    op.execute("UPDATE transcription SET bytes = redacted_bytes WHERE redacted_bytes IS NOT NULL")
    op.drop_index("transcription_original_audio", "transcription")
    op.drop_column("transcription", "original_audio_key")
    op.drop_column("transcription", "redacted_bytes")
