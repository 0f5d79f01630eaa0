"""Adds the oldest revision whose code can work with the schema, so that older versions may start on newer schemas."""

import sqlalchemy as sa

from alembic import op

revision = "20261128"
down_revision = "20261127"

# The first revision, because every column that later revisions added has a default or may be null.
FLOOR = "20261121"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    floor = op.create_table(
        "schema_floor",
        sa.Column("only_row", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.CheckConstraint("only_row", name="schema_floor_one_row"),
        sa.PrimaryKeyConstraint("only_row"),
    )
    op.bulk_insert(floor, [{"only_row": True, "revision": FLOOR}])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("schema_floor")
