"""Adds the memory of deleted transcriptions whose recording may still be in a watched folder."""

import sqlalchemy as sa

from alembic import op

revision = "20261208"
down_revision = "20261207"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "erased_file",
        sa.Column("transcription_id", sa.Uuid(), primary_key=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("erased_file_key", "erased_file", ["idempotency_key"])
    op.create_index("erased_file_unused", "erased_file", ["erased_at"], postgresql_where=sa.text("used_at IS NULL"))
    op.create_index("erased_file_used", "erased_file", ["used_at"], postgresql_where=sa.text("used_at IS NOT NULL"))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("erased_file")
