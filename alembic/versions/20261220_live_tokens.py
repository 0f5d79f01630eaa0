"""Adds the tokens that open live calls. None lives for longer than a day, so the downgrade loses nothing that lasts."""

import sqlalchemy as sa

from alembic import op

revision = "20261220"
down_revision = "20261219"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "live_token",
        sa.Column("hash", sa.LargeBinary(), primary_key=True),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("key_check", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("live_token_expires_at", "live_token", ["expires_at"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("live_token")
