"""Adds live calls, and their live text for those who follow them.

Both tables are empty when no call goes on, so the downgrade loses no transcription: a call that goes on is in a file.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "20261221"
down_revision = "20261220"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "live_call",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), nullable=False),
        sa.Column("speakers", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("sound_channels", sa.SmallInteger(), nullable=False),
        sa.Column("heard_seconds", sa.REAL(), nullable=False),
        sa.Column("partials", postgresql.JSONB(), nullable=False),
        sa.Column("has_recording", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("interrupted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("live_call_tenant", "live_call", ["tenant", "id"])
    op.create_table(
        "live_event",
        sa.Column("call_id", sa.Uuid(), sa.ForeignKey("live_call.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("event", postgresql.JSONB(), nullable=False),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("live_event")
    op.drop_table("live_call")
