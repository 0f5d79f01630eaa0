"""Counts requests a minute, exactly, also when several processes serve one database.

One statement counts a request of a caller that has a limit. A caller without one costs nothing. A minute begins with
the first request after the last minute has ended. A request that is refused does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.callers import Caller
from app.access.subjects import Subject, subjects_of
from app.database.connections import Database

MINUTE_SECONDS = 60

# `held` waits for the other requests of the same subjects and reads what they have written. The update takes the values
# from `held`, because its own look at the table may be older.
_COUNT = text("""
    WITH held AS MATERIALIZED (
        SELECT subject, began_at, requests FROM request_count WHERE subject = ANY(:subjects) ORDER BY subject FOR UPDATE
    ), minute AS MATERIALIZED (
        SELECT subject, most, is_open, CASE WHEN is_open THEN began_at ELSE now() END AS began_at,
               CASE WHEN is_open THEN requests ELSE 0 END AS requests
        FROM held JOIN unnest(:subjects, :limits) AS asked(subject, most) USING (subject)
        CROSS JOIN LATERAL (SELECT began_at > now() - interval '1 minute' AS is_open) AS age
    ), verdict AS MATERIALIZED (
        SELECT bool_and(requests < most) AND count(*) = cardinality(:subjects) AS admitted FROM minute
    ), counted AS (
        UPDATE request_count SET began_at = minute.began_at, requests = minute.requests + 1
        FROM minute, verdict WHERE admitted AND request_count.subject = minute.subject
    )
    SELECT subject, admitted, greatest(most - requests - admitted::int, 0) AS remaining,
           greatest(ceil(extract(epoch FROM began_at + interval '1 minute' - now())), 1)::int AS seconds_left
    FROM minute, verdict
""").bindparams(bindparam("subjects", type_=ARRAY(Text)), bindparam("limits", type_=ARRAY(Integer)))

_BEGIN = text("""
    INSERT INTO request_count (subject, began_at, requests) SELECT subject, '-infinity', 0
    FROM unnest(:subjects) AS asked(subject) ORDER BY subject ON CONFLICT DO NOTHING
""").bindparams(bindparam("subjects", type_=ARRAY(Text)))


@dataclass(frozen=True)
class Minute:
    """What is left of a subject's minute, after the request that was counted."""

    subject: Subject
    most: int
    remaining: int
    seconds_left: int


@dataclass(frozen=True)
class Counted:
    """Whether the request is admitted, and the minutes of all its subjects that have a limit."""

    admitted: bool
    minutes: Sequence[Minute]


def is_limited(caller: Caller) -> bool:
    return any(subject.limits.requests_per_minute is not None for subject in subjects_of(caller))


async def count(database: Database, caller: Caller) -> Counted:
    """Count a request of a caller that has a limit. If it is not admitted, it is not counted."""
    limited = {
        subject.id: (subject, most)
        for subject in subjects_of(caller)
        if (most := subject.limits.requests_per_minute) is not None
    }
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")  # locks the rows for the shortest time
        rows = await _count(connection, limited)
        while len(rows) < len(limited):  # the first request ever, or PostgreSQL has crashed
            await connection.execute(_BEGIN, {"subjects": list(limited)})
            rows = await _count(connection, limited)
    found = {row.subject: row for row in rows}
    minutes = [
        Minute(subject, most, found[id_].remaining, found[id_].seconds_left) for id_, (subject, most) in limited.items()
    ]
    return Counted(all(row.admitted for row in rows), minutes)


async def _count(connection: AsyncConnection, limited: dict[str, tuple[Subject, int]]) -> Sequence[Any]:
    values = {"subjects": list(limited), "limits": [most for _, most in limited.values()]}
    return (await connection.execute(_COUNT, values)).all()
