"""Fills a database with calls of sixty days that have figures, keywords and analyses.

Some hundred calls are made in Python, with the keywords that the service would write. SQL copies them.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

import asyncpg

from app.search.keywords import keywords
from proofs.search.texts import LANGUAGES, call, language

BASE = 500
AT_ONCE = 20_000
DAYS = 60
MOODS = ("positive", "neutral", "neutral", "negative")
CATEGORIES = ("refund", "long hold", "cancellation", "upsell", "complaint", "greeting missing", "delivery")
INTENTS = ("order", "invoice", "complaint", "delivery", "contract", "other")

COLUMNS = (
    "transcription_id, speech_seconds, silence_seconds, hold_seconds, longest_hold, longest_hold_start, agent_share, "
    "first_interruption_start, agent_words_per_minute, agent_response_seconds, holds, longest_hold_turn, "
    "interruptions, first_interruption_turn, keywords"
)


def base(calls: int) -> Iterator[tuple[Any, ...]]:
    chance = random.Random(21)
    languages = {code: language(code, chance) for code in LANGUAGES}
    codes = chance.choices(list(LANGUAGES), weights=list(LANGUAGES.values()), k=calls)
    for number, code in enumerate(codes):
        turns = call(languages[code], chance)
        named = chance.sample(CATEGORIES, chance.randint(0, 3))
        categories = [
            {"name": name, "sure": True, "matches": [{"turn": 3, "start": 4.2, "text": name}]} for name in named
        ]
        judgement = json.dumps(_judgement(len(turns), chance))
        scores = json.dumps([_score(name, chance) for name in ("quality", "law")])
        said = keywords((turn, code) for turn in turns)
        yield number, code, said, json.dumps(categories), scores, judgement


def _judgement(turns: int, chance: random.Random) -> dict[str, Any]:
    moods = [{"turn": turn, "value": chance.choice(MOODS)} for turn in range(1, turns + 1)]
    values = [mood["value"] for mood in moods]
    shares = {mood: round(values.count(mood) / max(1, turns), 4) for mood in set(MOODS)}
    quarters = [0.1, 0.2, 0.0, -0.1]
    sides = [
        {"speaker": side, "turns": turns, "shares": shares, "quarters": quarters} for side in ("agent", "customer")
    ]
    statement = {
        "text": "The customer's order has not arrived, and the agent sends it again without cost. " * 3,
        "turns": [2],
    }
    return {
        "summary": statement,
        "reason": statement,
        "outcome": statement,
        "resolved": {"value": chance.random() < 0.8, "turns": [9]},
        "intent": {"value": chance.choice(INTENTS), "turns": [2]},
        "sentiment": {"turns": moods, "sides": sides},
        "action_items": [statement],
        "keywords": ["order", "refund"],
        "answers": [],
    }


def _score(name: str, chance: random.Random) -> dict[str, Any]:
    answers = [
        {"question": f"Question {number}?", "value": True, "points": 1.0, "possible": 2.0, "evidence": [{"turn": 3}]}
        for number in range(8)
    ]
    return {"scorecard": name, "points": chance.uniform(2, 16), "possible": 16.0, "answers": answers}


async def fill(connection: "asyncpg.Connection[asyncpg.Record]", calls: int) -> None:
    """Adds `calls` calls to each of the last two periods of thirty days."""
    run = connection.execute
    await run("SET session_replication_role = replica")
    await run("SET synchronous_commit = off")
    await run("""
        CREATE UNLOGGED TABLE base (number int PRIMARY KEY, language text, keywords text[], categories jsonb,
            scores jsonb, judgement jsonb)
    """)
    made = min(BASE, calls)
    await connection.executemany("INSERT INTO base VALUES ($1, $2, $3, $4, $5, $6)", list(base(made)))
    await run(f"""
        CREATE TABLE made AS
        SELECT n, at, n % {made} AS base, (
            lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid AS id
        FROM generate_series(1, {2 * calls}) AS n,
            LATERAL (SELECT now() - n * interval '{DAYS - 1} days' / {2 * calls} AS at) AS times
    """)
    for first in range(1, 2 * calls + 1, AT_ONCE):
        some = f"FROM made JOIN base ON base.number = base WHERE n BETWEEN {first} AND {first + AT_ONCE - 1}"
        await run(
            f"""
            INSERT INTO transcription (id, caller, tenant, fingerprint, external_id, metadata, options, priority,
                webhook_urls, callback_urls, status, progress, attempts, crashes, run_at, cancel_requested, source,
                language, warnings, speakers, duration, created_at, started_at, completed_at)
            SELECT id, 'key', 'default', 'f', 'crm-' || n,
                json_build_object('agent', 'agent ' || n % 60, 'queue', n % 10), '{{"model": "base"}}', 5, '[]', '[]',
                CASE WHEN n % 100 < 96 THEN 'completed' WHEN n % 100 < 99 THEN 'failed' ELSE 'cancelled' END, 1, 1, 0,
                at, false, 'upload', CASE WHEN n % 100 < 96 THEN language END, '[]',
                '[{{"label": "agent", "speech_seconds": 100}}, {{"label": "customer", "speech_seconds": 120}}]',
                60 + n % 900, at, at, at + interval '1 min'
            {some}
        """,
            timeout=600,
        )
        await run(
            f"""
            INSERT INTO call_facts ({COLUMNS})
                SELECT id, 40, 20, n % 5 * 12, n % 90, n % 40, 0.3 + n % 40 / 100.0, 0.5, 120 + n % 60,
                    0.5 + n % 20 / 10.0, n % 4, 9, n % 15, 3, keywords {some} AND n % 100 < 96
        """,
            timeout=600,
        )
        await run(
            f"""
            INSERT INTO analysis (transcription_id, tenant, wants_judgement, status, run_at, created_at, completed_at,
                categories, scores, judgement)
            SELECT id, 'default', true, 'completed', at, at, at, categories, scores, judgement {some} AND n % 100 < 96
        """,
            timeout=600,
        )
    for table in ("transcription", "call_facts", "analysis"):
        await run(f"VACUUM ANALYZE {table}", timeout=3600)
