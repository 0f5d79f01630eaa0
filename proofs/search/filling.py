"""Fills a database with a million calls of a year.

Some thousand calls are made in Python, with the words that the service would write. SQL copies them, and gives each
copy a word of its own and, with falling chance, some rare words. So the index has the size that it would have.
"""

import random
import time
from collections.abc import Iterator

import asyncpg

from app.search.lexemes import rows_of
from proofs.search.texts import LANGUAGES, call, language

BASE = 8000
AT_ONCE = 20_000
FIRST_DAY = "2025-12-01"
TENANTS = "CASE WHEN n % 1000 = 7 THEN 'tiny' WHEN n % 10 = 3 THEN 'acme' ELSE 'default' END"
# A word in one call of 100, of 1,000, of 10,000 and of 100,000, and one that only calls of the first month have.
RARE = " || ".join(
    f"CASE WHEN n % {every} = {every // 2} THEN '{word}:1 +{pair}'::tsvector ELSE ''::tsvector END"
    for word, every, pair in (
        ("onehundredth", 100, "aaaa"),
        ("onethousandth", 1000, "bbbb"),
        ("tenthousandth", 10_000, "cc"),
    )
)
OLD = "CASE WHEN n < {calls} / 12 THEN 'christmas:1'::tsvector ELSE ''::tsvector END"


def base(calls: int) -> Iterator[tuple[int, str, str]]:
    chance = random.Random(20)
    languages = {code: language(code, chance) for code in LANGUAGES}
    codes = chance.choices(list(LANGUAGES), weights=list(LANGUAGES.values()), k=calls)
    for number, code in enumerate(codes):
        yield number, code, rows_of(call(languages[code], chance), "default")[0]


async def fill(connection: "asyncpg.Connection[asyncpg.Record]", calls: int) -> None:
    started, made = time.monotonic(), min(BASE, calls)

    def report(what: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {what}", flush=True)

    run = connection.execute
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'transcription' "
        "AND indexname NOT IN ('transcription_pkey', 'transcription_idempotency')"
    )
    for index in indexes:
        await run(f"DROP INDEX {index['indexname']}")
    await run("DROP INDEX transcript_search_words")
    await run("SET session_replication_role = replica")
    await run("SET synchronous_commit = off")
    await run("CREATE UNLOGGED TABLE base (number int PRIMARY KEY, language text, words tsvector)")
    await connection.executemany("INSERT INTO base VALUES ($1, $2, $3::text::tsvector)", list(base(made)))
    await run("ANALYZE base")
    report(f"{made} calls made")
    await run(f"""
        CREATE FUNCTION id_of(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
            SELECT (
                lpad(to_hex((extract(epoch FROM timestamptz '{FIRST_DAY}') * 1000)::bigint
                    + n * 31536000000 / {calls}), 12, '0')
                || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid
        $$
    """)
    for first in range(0, calls, AT_ONCE):
        rows = f"generate_series({first}::bigint, {min(calls, first + AT_ONCE) - 1}) AS n"
        at = f"timestamptz '{FIRST_DAY}' + n * interval '1 year' / {calls}"
        await run(
            f"""
            INSERT INTO transcription (id, caller, tenant, fingerprint, external_id, metadata, options, priority,
                webhook_urls, callback_urls, status, progress, attempts, crashes, run_at, cancel_requested, source,
                language, warnings, speakers, duration, created_at, started_at, completed_at)
            SELECT id_of(n), 'key', {TENANTS}, 'f', 'crm-' || n,
                json_build_object('agent', 'agent ' || n % 200, 'queue', n % 10), '{{"model": "base"}}', 5, '[]', '[]',
                CASE WHEN n % 100 < 96 THEN 'completed' WHEN n % 100 < 99 THEN 'failed' ELSE 'cancelled' END, 1, 1, 0,
                {at}, false, 'upload', CASE WHEN n % 100 < 96 THEN base.language END, '[]',
                '[{{"label": "agent", "speech_seconds": 100}}, {{"label": "customer", "speech_seconds": 120}}]', 300,
                {at}, {at}, {at} + interval '1 min'
            FROM {rows} JOIN base ON base.number = (n * 7919) % {made}
        """,
            timeout=600,
        )
        await run(
            f"""
            INSERT INTO transcript_search (transcription_id, part, words)
            SELECT id_of(n), 0,
                CASE WHEN {TENANTS} = 'default' THEN words
                     ELSE ts_delete(words, '@default') || ('@' || {TENANTS})::tsvector END
                || ('n' || n || ':1')::tsvector || {RARE} || {OLD.format(calls=calls)}
            FROM {rows} JOIN base ON base.number = (n * 7919) % {made} WHERE n % 100 < 96
        """,
            timeout=600,
        )
        if first % 100_000 == 0:
            report(f"{first} calls")
    report("rows written")
    await run("SET maintenance_work_mem = '1GB'")
    await run(
        "CREATE INDEX transcript_search_words ON transcript_search USING gin (words) WHERE part = 0", timeout=7200
    )
    report("the index of words made")
    for index in indexes:
        await run(index["indexdef"], timeout=600)
    report("the other indexes made")
    for table in ("transcription", "transcript_search"):
        await run(f"VACUUM ANALYZE {table}", timeout=3600)
    report("ready")
