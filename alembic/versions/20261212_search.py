"""Adds the words of calls, by which they are found, the speakers of a call, and indexes for the filters of the list.

Every process fills the words and the speakers of calls that have none (app/jobs/upkeep/search_filling.py).
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "20261212"
down_revision = "20261211"

METADATA_TERMS = r"""
    CREATE FUNCTION metadata_terms(metadata json) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT CASE
            WHEN strpos(metadata::text, '\u0000') > 0 THEN NULL
            WHEN strpos(substr(metadata::text, 2), '{') = 0 AND strpos(metadata::text, '[') = 0 THEN (
                SELECT array_agg(name || chr(31) || value)
                FROM json_each_text(metadata) AS entry (name, value)
                WHERE length(name) + length(value) < 400
            )
            ELSE (
                WITH RECURSIVE entry (name, value, depth) AS (
                    SELECT key, value, 1 FROM json_each(metadata)
                    UNION ALL
                    SELECT name, part.value, depth + 1 FROM entry CROSS JOIN LATERAL (
                        SELECT value FROM json_each(CASE json_typeof(entry.value) WHEN 'object' THEN entry.value END)
                        UNION ALL
                        SELECT json_array_elements(CASE json_typeof(entry.value) WHEN 'array' THEN entry.value END)
                    ) AS part (value)
                    WHERE depth < 5
                )
                SELECT array_agg(DISTINCT name || chr(31) || (value #>> '{}'))
                FROM entry
                WHERE json_typeof(value) NOT IN ('object', 'array')
                    AND length(name) + length(value #>> '{}') < 400
            )
        END
    $$
"""
INDEXES = (
    ("transcription_of_tenant", "(tenant, id)"),
    ("transcription_of_tenant_by_status", "(tenant, status, id) WHERE status IS NOT NULL"),
    ("transcription_of_tenant_by_language", "(tenant, language, id) WHERE language IS NOT NULL"),
    ("transcription_of_tenant_by_external_id", "(tenant, external_id, id) WHERE external_id IS NOT NULL"),
    ("transcription_by_metadata", "USING gin (metadata_terms(metadata))"),
)
REPLACED = {
    "transcription_by_external_id": "(external_id, id)",
    "transcription_by_status": "(status, id)",
}
MANY = 50_000  # rows of which an index is made in a second


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
    if not _is_large("transcription"):  # otherwise app/jobs/upkeep/late_indexes.py makes them without locking the table
        for name, what in INDEXES:
            op.execute(f"CREATE INDEX {name} ON transcription {what}")
        for name in REPLACED:
            op.execute(f"DROP INDEX {name}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name, what in REPLACED.items():
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON transcription {what}")
    for name, _ in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    op.execute("DROP FUNCTION metadata_terms")
    op.drop_table("transcript_search")
    op.drop_column("transcription", "speakers")


def _is_large(table: str) -> bool:
    rows = sa.text(f"SELECT count(*) FROM (SELECT FROM {table} LIMIT {MANY + 1}) AS counted")  # noqa: S608
    return bool(op.get_bind().execute(rows).scalar_one() > MANY)
