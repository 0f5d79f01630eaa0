"""The names and values of `metadata` as texts: a function of the database, which an index of `transcription` needs."""

SEPARATOR = "\x1f"  # between a name and its value
LONGEST_TERM = 400  # characters; longer ones are in no index, because a page of it has to hold several
# The same function is in alembic/versions/20261212_search.py. Metadata with NUL characters has no terms.
FUNCTION = r"""
    CREATE FUNCTION metadata_terms(metadata json) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT array_agg(name || chr(31) || value)
        FROM json_each_text(CASE WHEN strpos(metadata::text, '\u0000') = 0 THEN metadata END) AS entry (name, value)
        WHERE length(name) + length(value) < 400
    $$
"""
