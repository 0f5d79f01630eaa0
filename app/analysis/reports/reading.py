"""Counts calls for reports, in two statements of SQL: one for all figures, and one for the keywords.

Reports are made one after the other in each process, so that however many are asked for, the other requests have the
connections of the pool. PostgreSQL stops a statement that takes too long.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Text, case, cast, func, literal, literal_column, null, text
from sqlalchemy import select as sqlalchemy_select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access import audit
from app.access.audit import Action
from app.access.callers import Caller
from app.analysis.models import Analysis
from app.analysis.reports.filters import model_column, sentiment_column
from app.analysis.reports.periods import Period, Step
from app.database.connections import Database
from app.errors import Unavailable
from app.jobs.models import CallFacts, Transcription
from app.jobs.reads import listing
from app.jobs.reads.listing import Wanted
from app.process.tasks import within

LONGEST_SECONDS = 10
LONGEST_WAIT_SECONDS = 20.0
MOST_OF_TENANT = 3  # reports that are made or wait: further ones would keep places from other requests and tenants
MOST_INTENTS, MOST_TOP, MOST_KEYWORDS = 20, 10, 10
CALLS_WITH_KEYWORDS = 2000  # of a report; a sample of them, if it has more
LEAST_CALLS = 2  # with a keyword
LEAST_SCORE = 6.63  # of the likelihood ratio: a smaller one is chance in one of a hundred words
NONE = ""  # the key of calls without an agent, a language, …
TIMED_OUT = "57014"  # SQLSTATE


class By(StrEnum):
    """What the groups of a report have in common."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    AGENT = "agent"
    LANGUAGE = "language"
    STATUS = "status"
    CATEGORY = "category"
    INTENT = "intent"
    SENTIMENT = "sentiment"
    MODEL = "model"

    @property
    def step(self) -> Step | None:
        return Step(self.value) if self.value in list(Step) else None


@dataclass(frozen=True)
class Counted:
    """Rows as PostgreSQL made them. Rows of groups have a `key`; `is_now` tells the period from the previous one.

    `keywords` have the key of their group, or None for those of all calls. `calls_with_keywords` is how many calls they
    are from, and `groups` how many groups there are, of which some may be left out.
    """

    totals: Sequence[Mapping[str, Any]]
    grouped: Sequence[Mapping[str, Any]]
    named: Mapping[str, Sequence[Mapping[str, Any]]]
    tops: Mapping[str, Sequence[Mapping[str, Any]]]
    groups: int
    keywords: Sequence[Mapping[str, Any]]
    calls_with_keywords: int


@dataclass(frozen=True)
class Question:
    """`wanted` are the filters, without times. At most `limit` groups are counted, those with the most calls."""

    period: Period
    by: By
    wanted: Wanted
    limit: int


class Reports:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Lock()
        self._asked: Counter[str] = Counter()  # reports under way by tenant

    async def read(self, question: Question, caller: Caller) -> Counted:
        """Raises Unavailable if the report would take too long."""
        if self._asked[caller.tenant] >= MOST_OF_TENANT:
            raise Unavailable("Earlier reports of yours are being made. Ask again later.", retry_after=10)
        self._asked[caller.tenant] += 1
        try:
            return await self._read_in_turn(question, caller)
        finally:
            self._asked[caller.tenant] -= 1
            self._asked += Counter()  # forgets tenants without reports

    async def _read_in_turn(self, question: Question, caller: Caller) -> Counted:
        try:
            await within(LONGEST_WAIT_SECONDS, self._turn.acquire())
        except TimeoutError:
            raise Unavailable("Other reports are being made. Ask again later.", retry_after=10) from None
        try:
            async with self._database.transaction() as session:
                counted = await _read(session, question, caller)
                await audit.note_read(session, Action.REPORT_READ, caller, ())  # its keywords were said
                return counted
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != TIMED_OUT:
                raise
            raise Unavailable(
                f"The report took longer than {LONGEST_SECONDS} s. Ask for fewer days, or for fewer calls with filters."
            ) from None
        finally:
            self._turn.release()


_SETTINGS = text(f"""
    SELECT set_config('statement_timeout', '{LONGEST_SECONDS}s', true), set_config('jit', 'off', true),
           set_config('plan_cache_mode', 'force_custom_plan', true), set_config('work_mem', '64MB', true)
""")

_FIGURES = """
    count(*) AS calls,
    count(*) FILTER (WHERE status = 'completed') AS completed,
    count(*) FILTER (WHERE status = 'failed') AS failed,
    count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE status IN ('pending', 'in_progress')) AS waiting,
    coalesce(sum(duration) FILTER (WHERE status = 'completed'), 0) AS seconds,
    avg(duration) FILTER (WHERE status = 'completed') AS mean_seconds,
    count(speech_seconds) AS talk_calls,
    sum(speech_seconds) / nullif(sum(duration) FILTER (WHERE speech_seconds IS NOT NULL), 0) AS speech_share,
    sum(silence_seconds) / nullif(sum(duration) FILTER (WHERE speech_seconds IS NOT NULL), 0) AS silence_share,
    coalesce(sum(holds), 0) AS holds,
    count(*) FILTER (WHERE holds > 0) AS calls_with_holds,
    coalesce(sum(hold_seconds), 0) AS hold_seconds,
    coalesce(sum(interruptions), 0) AS interruptions,
    count(interruptions) AS interruption_calls,
    count(agent_share) AS agent_calls,
    avg(agent_share) AS talk_share,
    avg(agent_words_per_minute) AS words_per_minute,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY agent_response_seconds) AS median_response_seconds,
    count(mood) AS sentiment_calls,
    count(*) FILTER (WHERE sentiment = 'positive') AS positive,
    count(*) FILTER (WHERE sentiment = 'neutral') AS neutral,
    count(*) FILTER (WHERE sentiment = 'negative') AS negative,
    avg(mood) AS sentiment_score,
    count(is_resolved) AS resolved_calls,
    count(*) FILTER (WHERE is_resolved) AS resolved_yes
"""
_NAMED = {
    "categories": """
        SELECT {keys}, name, count(*) AS calls
        FROM {source}, jsonb_array_elements_text(category_names) AS name GROUP BY {keys}, name
    """,
    "scores": """
        SELECT {keys}, name, count(*) AS calls, sum((points -> (place::int - 1))::float8) AS points,
               sum((possible -> (place::int - 1))::float8) AS possible
        FROM {source}, jsonb_array_elements_text(scorecards) WITH ORDINALITY AS score (name, place)
        GROUP BY {keys}, name
    """,
    "intents": f"""
        SELECT * FROM (
            SELECT {{keys}}, intent_name AS name, count(*) AS calls,
                   row_number() OVER (PARTITION BY {{keys}} ORDER BY count(*) DESC, intent_name) AS place
            FROM {{source}} WHERE intent_name IS NOT NULL GROUP BY {{keys}}, intent_name
        ) AS ordered WHERE place <= {MOST_INTENTS}
    """,
}
_TOPS = {
    "longest_holds": f"""
        SELECT id, agent, created_at, longest_hold AS value, longest_hold_start AS start, longest_hold_turn AS turn
        FROM called WHERE is_now AND longest_hold > 0 ORDER BY longest_hold DESC, id LIMIT {MOST_TOP}
    """,
    "most_interrupted": f"""
        SELECT id, agent, created_at, interruptions AS value, first_interruption_start AS start,
               first_interruption_turn AS turn
        FROM called WHERE is_now AND interruptions > 0 ORDER BY interruptions DESC, id LIMIT {MOST_TOP}
    """,
    "lowest_scores": f"""
        SELECT id, agent, created_at, name AS scorecard,
               100 * (points -> (place::int - 1))::float8 / (possible -> (place::int - 1))::float8 AS value
        FROM called, jsonb_array_elements_text(scorecards) WITH ORDINALITY AS score (name, place)
        WHERE is_now AND (points -> (place::int - 1))::float8 < (possible -> (place::int - 1))::float8
        ORDER BY value, id LIMIT {MOST_TOP}
    """,
}


async def _read(session: AsyncSession, question: Question, caller: Caller) -> Counted:
    await session.exec(_SETTINGS)  # type: ignore[call-overload]
    counted = (await session.exec(_figures(question, caller))).one()._mapping
    words = (await session.exec(_keywords(question, caller))).one()._mapping
    return Counted(
        totals=counted["totals"] or (),
        grouped=counted["groups"] or (),
        named={name: [*(counted[f"{name}_of_all"] or ()), *(counted[name] or ())] for name in _NAMED},
        tops={name: counted[name] or () for name in _TOPS},
        groups=counted["number"] or 0,
        keywords=words["keywords"] or (),
        calls_with_keywords=words["calls"],
    )


def _figures(question: Question, caller: Caller) -> Any:
    """A statement with one row: each column is the JSON of the rows of one part of the report."""
    period = question.period
    columns = [
        Transcription.id,
        (col(Transcription.created_at) >= literal(period.start, DateTime(timezone=True))).label("is_now"),
        _key(question).label("own_key"),
        Transcription.status,
        Transcription.duration,
        Transcription.created_at,
        _agent().label("agent"),
        sentiment_column().label("sentiment"),
        *(column for column in CallFacts.__table__.columns if column.name not in ("transcription_id", "keywords")),  # type: ignore[attr-defined]
        *(Analysis.category_names, Analysis.scorecards, Analysis.points, Analysis.possible, Analysis.intent_name),
        *(Analysis.is_resolved, Analysis.mood),
    ]
    called = (
        select(*columns)
        .select_from(Transcription)
        .outerjoin(CallFacts, col(CallFacts.transcription_id) == Transcription.id)
        .outerjoin(Analysis, col(Analysis.transcription_id) == Transcription.id)
        .where(*_matching(question, caller, period.previous.start))
        .cte("called")
        .prefix_with("MATERIALIZED")
    )
    keyed = (
        f"SELECT called.*, {_OF_CATEGORIES}" if question.by is By.CATEGORY else "SELECT *, own_key AS key FROM called"
    )
    chosen = text(f"""
        SELECT key, count(*) OVER () AS number FROM ({keyed}) AS keyed WHERE is_now
        GROUP BY key ORDER BY count(*) DESC, key LIMIT {question.limit}
    """)
    grouped = text(f"SELECT * FROM ({keyed}) AS keyed WHERE key IN (SELECT key FROM chosen)")
    parts = {
        "totals": f"SELECT is_now, {_FIGURES} FROM called GROUP BY is_now",
        "groups": f"SELECT is_now, key, {_FIGURES} FROM grouped GROUP BY is_now, key",
        **{f"{name}_of_all": sql.format(keys="is_now", source="called") for name, sql in _NAMED.items()},
        **{name: sql.format(keys="is_now, key", source="grouped") for name, sql in _NAMED.items()},
        **_TOPS,
    }
    shown: list[Any] = [
        *(literal_column(f"(SELECT json_agg(part) FROM ({sql}) AS part)").label(name) for name, sql in parts.items()),
        literal_column("(SELECT max(number) FROM chosen)").label("number"),
    ]
    return sqlalchemy_select(*shown).add_cte(called, chosen.columns().cte("chosen"), grouped.columns().cte("grouped"))


_OF_CATEGORIES = """coalesce(category, '') AS key
    FROM called LEFT JOIN jsonb_array_elements_text(category_names) AS category ON true"""
# `score` is the log-likelihood ratio of a word: how unlikely its counts would be if the group spoke like the rest
# (Dunning 1993). Calls are counted, not words, so that one call in which a word is repeated does not matter.
_SCORED = f"""
    SELECT key, word, calls, score FROM (
        SELECT *, row_number() OVER (PARTITION BY key ORDER BY score DESC, word) AS place FROM (
            SELECT key, word, calls, 2 * (
                calls * ln(calls * every::float8 / (size * total))
                + CASE WHEN total > calls
                    THEN (total - calls) * ln((total - calls) * every::float8 / ((every - size) * total)) ELSE 0 END
            ) AS score
            FROM (
                SELECT key, word, counted.calls, total, size, every
                FROM counted JOIN totals USING (word) JOIN sizes USING (key)
                    CROSS JOIN (SELECT count(*) AS every FROM sampled) AS whole
            ) AS compared
            WHERE every > size AND calls >= {LEAST_CALLS} AND calls * every > total * size
        ) AS scored WHERE score >= {LEAST_SCORE}
    ) AS ordered WHERE place <= {MOST_KEYWORDS}
"""
_FREQUENT = f"""
    SELECT NULL AS key, word, total AS calls, NULL AS score
    FROM totals ORDER BY total DESC, word LIMIT {MOST_KEYWORDS}
"""


def _keywords(question: Question, caller: Caller) -> Any:
    """A statement with one row: the keywords of the groups and of all calls as JSON, and how many calls were read."""
    sampled = (
        select(
            _key(question).label("own_key"),
            CallFacts.keywords,
            (Analysis.category_names if question.by is By.CATEGORY else null()).label("category_names"),  # type: ignore[union-attr]
        )
        .select_from(Transcription)
        .join(CallFacts, col(CallFacts.transcription_id) == Transcription.id)
        .outerjoin(Analysis, col(Analysis.transcription_id) == Transcription.id)
        .where(*_matching(question, caller, question.period.start))
        .order_by(func.right(cast(col(Transcription.id), Text), 12))  # which is random in a UUIDv7
        .limit(CALLS_WITH_KEYWORDS)
        .cte("sampled")
        .prefix_with("MATERIALIZED")
    )
    keyed = (
        f"SELECT keywords, {_OF_CATEGORIES.replace('called', 'sampled')}"
        if question.by is By.CATEGORY
        else ("SELECT keywords, own_key AS key FROM sampled")
    )
    said = "SELECT unnest(keywords) AS word, 1 AS calls FROM sampled"
    words = f"({said}) AS said" if question.by is By.CATEGORY else "counted"  # categories have calls in common
    parts = {
        "keyed": keyed,
        "sizes": "SELECT key, count(*) AS size FROM keyed GROUP BY key",
        "counted": """
            SELECT key, word, count(*) AS calls FROM keyed, unnest(keywords) AS word GROUP BY key, word
        """,
        "totals": f"""
            SELECT word, sum(calls)::bigint AS total FROM {words} GROUP BY word HAVING sum(calls) >= {LEAST_CALLS}
        """,
    }
    return select(
        literal_column(f"(SELECT json_agg(part) FROM (({_FREQUENT}) UNION ALL ({_SCORED})) AS part)").label("keywords"),
        literal_column("(SELECT count(*) FROM sampled)").label("calls"),
    ).add_cte(sampled, *(text(sql).columns().cte(name) for name, sql in parts.items()))


def _matching(question: Question, caller: Caller, start: datetime) -> list[ColumnElement[bool]]:
    wanted = replace(question.wanted, created_after=start, created_before=question.period.end)
    return listing.matching(wanted, caller)


def _key(question: Question) -> ColumnElement[str]:
    """What the groups of a call are named by, as text; the number of its part of the period, from 1; or NONE."""
    by, created_at = question.by, col(Transcription.created_at)
    if by.step is not None:
        starts = [part.start for part in question.period.parts(by.step)]
        return cast(func.width_bucket(created_at, literal(starts, ARRAY(DateTime(timezone=True)))), Text)
    named: dict[By, Any] = {
        By.AGENT: _agent(),
        By.LANGUAGE: Transcription.language,
        By.STATUS: Transcription.status,
        By.CATEGORY: null(),
        By.INTENT: Analysis.intent_name,
        By.SENTIMENT: sentiment_column(),
        By.MODEL: model_column(),
    }
    return func.coalesce(cast(named[by], Text), literal(NONE, Text))


def _agent() -> ColumnElement[Any]:
    """The agent in the metadata, which a client may send as text or as an object with a name, as `reads.export` does.

    Null if there is none, and for metadata with NUL characters, which PostgreSQL cannot read.
    """
    metadata: Any = col(Transcription.metadata_)
    agent = metadata["agent"]
    kind = func.json_typeof(agent)
    return case(
        (func.strpos(cast(metadata, Text), "\\u0000") > 0, null()),
        (kind == "object", func.coalesce(agent["name"].as_string(), agent["id"].as_string())),
        (kind == "array", null()),
        else_=func.nullif(metadata["agent"].as_string(), NONE),
    )
