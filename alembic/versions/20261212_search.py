"""Adds the words of calls, by which they are found, the speakers of a call, and indexes for the filters of the list.

Every process fills the words and the speakers of calls that have none (app/jobs/search_filling.py).
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "20261212"
down_revision = "20261211"

METADATA_TERMS = r"""
    CREATE FUNCTION metadata_terms(metadata json) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT array_agg(name || chr(31) || value)
        FROM json_each_text(CASE WHEN strpos(metadata::text, '\u0000') = 0 THEN metadata END) AS entry (name, value)
        WHERE length(name) + length(value) < 400
    $$
"""
INDEXES = (
    ("transcription_of_tenant", "(tenant, id)"),
    ("transcription_of_tenant_by_status", "(tenant, status, id) WHERE status IS NOT NULL"),
    ("transcription_of_tenant_by_language", "(tenant, language, id) WHERE language IS NOT NULL"),
    ("transcription_of_tenant_by_external_id", "(tenant, external_id, id) WHERE external_id IS NOT NULL"),
    ("transcription_by_metadata", "USING gin (metadata_terms(metadata))"),
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("transcription", sa.Column("speakers", postgresql.JSONB(), nullable=True))
    op.create_table(
        "transcript_search",
        sa.Column(
            "transcription_id", sa.Uuid(), sa.ForeignKey("transcription.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("part", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("words", postgresql.TSVECTOR(), nullable=False),
        postgresql_with={"toast_tuple_target": 128},
    )
    op.create_index(
        "transcript_search_words",
        "transcript_search",
        ["words"],
        postgresql_using="gin",
        postgresql_where=sa.text("part = 0"),
    )
    op.get_bind().exec_driver_sql(METADATA_TERMS)
    for name, what in INDEXES:
        op.execute(f"CREATE INDEX {name} ON transcription {what}")
    op.drop_index("transcription_by_status", "transcription")
    op.drop_index("transcription_by_external_id", "transcription")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index("transcription_by_external_id", "transcription", ["external_id", "id"])
    op.create_index("transcription_by_status", "transcription", ["status", "id"])
    for name, _ in INDEXES:
        op.drop_index(name, "transcription")
    op.execute("DROP FUNCTION metadata_terms")
    op.drop_table("transcript_search")
    op.drop_column("transcription", "speakers")
