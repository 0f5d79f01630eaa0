"""Adds outputs: files and objects with the transcript, and messages, which are deliveries of new styles.

`transcription.batch_id` is for jobs that belong to a recording batch.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "20261205"
down_revision = "20261204"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("transcription", sa.Column("outputs", postgresql.JSONB(), server_default="[]", nullable=False))
    op.add_column("transcription", sa.Column("batch_id", sa.Uuid(), nullable=True))
    op.add_column("delivery", sa.Column("format", sa.Text(), nullable=True))
    _let_styles_be("'webhook', 'callback', 's3', 'folder', 'stream'")
    op.create_index(
        "delivery_to_neighbours",
        "delivery",
        ["style", "tries"],
        postgresql_where=sa.text("status = 'pending' AND style IN ('s3', 'folder', 'stream')"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DELETE FROM delivery WHERE style NOT IN ('webhook', 'callback')")
    op.execute("UPDATE delivery SET next_attempt_at = now() WHERE next_attempt_at >= '9999-01-01'")
    op.drop_index("delivery_to_neighbours", "delivery")
    _let_styles_be("'webhook', 'callback'")
    op.drop_column("delivery", "format")
    op.drop_column("transcription", "batch_id")
    op.drop_column("transcription", "outputs")


def _let_styles_be(styles: str) -> None:
    """NOT VALID keeps the lock short on a large table. The rows are checked afterwards, while others write."""
    op.drop_constraint("delivery_style", "delivery")
    op.execute(f"ALTER TABLE delivery ADD CONSTRAINT delivery_style CHECK (style IN ({styles})) NOT VALID")
    op.execute("ALTER TABLE delivery VALIDATE CONSTRAINT delivery_style")
