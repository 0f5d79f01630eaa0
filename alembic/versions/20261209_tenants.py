"""Adds tenants and keys, and says of each call and each recording batch to which tenant it belongs.

What exists belongs to the tenant `default`, and so does what an older version adds beside this one.
"""

import sqlalchemy as sa

from alembic import op

revision = "20261209"
down_revision = "20261208"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "tenant",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        *_limits(),
        sa.CheckConstraint(
            "requests_per_minute > 0 AND pending_jobs >= 0 AND audio_hours_per_day >= 0", name="tenant_limits"
        ),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant", sa.Text(), sa.ForeignKey("tenant.name"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("most_urgent", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        *_limits(),
        sa.CheckConstraint(
            "requests_per_minute > 0 AND pending_jobs >= 0 AND audio_hours_per_day >= 0", name="api_key_limits"
        ),
        sa.CheckConstraint("most_urgent BETWEEN 0 AND 9", name="api_key_most_urgent"),
    )
    op.create_index("api_key_hash", "api_key", ["hash"], unique=True)
    op.create_index("api_key_of_tenant", "api_key", ["tenant", "name"])
    for table in ("transcription", "recording_batch"):  # a constant default rewrites no row
        op.add_column(table, sa.Column("tenant", sa.Text(), server_default="default", nullable=False))


def downgrade() -> None:
    """Refuses to mix the calls of several tenants, because an older version shows all calls to every key."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table, what in (("transcription", "calls"), ("recording_batch", "batches")):
        others = sa.text(f"SELECT 1 FROM {table} WHERE tenant <> 'default' LIMIT 1")  # noqa: S608
        if op.get_bind().execute(others).first() is not None:
            raise RuntimeError(f"there are {what} of other tenants than `default`: delete them before the downgrade")
    for table in ("recording_batch", "transcription"):
        op.drop_column(table, "tenant")
    op.drop_table("api_key")
    op.drop_table("tenant")


def _limits() -> list[sa.Column[object]]:
    return [
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("pending_jobs", sa.Integer(), nullable=True),
        sa.Column("audio_hours_per_day", sa.Float(), nullable=True),
    ]
