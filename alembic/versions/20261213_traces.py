"""Lets jobs and events name the span that continues in their later stages. What exists names none."""

import sqlalchemy as sa

from alembic import op

revision = "20261213"
down_revision = "20261212"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("transcription", "event"):
        op.add_column(table, sa.Column("traceparent", sa.Text(), nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("event", "transcription"):
        op.drop_column(table, "traceparent")
