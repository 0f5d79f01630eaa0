"""Lets the attempt of a delivery succeed without a status code, because not every channel has status codes."""

from alembic import op

revision = "20261129"
down_revision = "20261128"


def upgrade() -> None:
    _replace("status_code IS NULL OR error IS NULL")


def downgrade() -> None:
    op.execute("UPDATE delivery_attempt SET error = 'unknown' WHERE status_code IS NULL AND error IS NULL")
    _replace("(status_code IS NULL) <> (error IS NULL)")


def _replace(condition: str) -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_constraint("delivery_attempt_result", "delivery_attempt")
    op.create_check_constraint("delivery_attempt_result", "delivery_attempt", condition)
