"""The names and values of `metadata` as texts: a function of the database, which an index of `transcription` needs."""

SEPARATOR = "\x1f"  # between a name and its value
LONGEST_TERM = 400  # characters; longer ones are in no index, because a page of it has to hold several
# The same function is in alembic/versions/20261212_search.py. Metadata with NUL characters has no terms. What is in an
# object or a list has the name of the object or list. Most metadata is flat, whose terms take a third of the time.
FUNCTION = r"""
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
