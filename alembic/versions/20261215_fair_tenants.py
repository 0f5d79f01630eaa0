"""Adds the indexes by which claims find the tenants that wait, and when each was last served."""

import sqlalchemy as sa

from alembic import op

revision = "20261215"
down_revision = "20261214"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name, which in (("transcription_lanes", "NOT NULL"), ("transcription_lanes_to_fetch", "NULL")):
        op.create_index(
            name,
            "transcription",
            ["priority", "tenant", "caller"],
            postgresql_where=sa.text(f"status = 'pending' AND audio_key IS {which}"),
        )
    op.create_index(
        "transcription_tenant_served",
        "transcription",
        ["tenant", "started_at"],
        postgresql_where=sa.text("started_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in ("transcription_tenant_served", "transcription_lanes_to_fetch", "transcription_lanes"):
        op.drop_index(name, "transcription")
