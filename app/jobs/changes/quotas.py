"""Refuses a new job if its caller or its tenant has as many waiting jobs, or as much audio today, as it may have.

Jobs of a caller or tenant with such a limit are added one after the other, so that the limit is exact. Other jobs cost
nothing. A job that was accepted is never lost because of a quota.

A recording counts for the day in UTC on which its job is completed. While its job waits or runs, it counts for today if
its length is known. That of an upload is known when it is accepted, that of a URL when its job is completed. The jobs
of recording batches are not refused: their rows wait instead (`recording_batches.room`). They count apart from other
waiting jobs.
"""

from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.callers import Caller
from app.access.subjects import Subject, subjects_of
from app.errors import QuotaExceeded
from app.jobs.lifecycle import RATE_WINDOW, come_back_after

HOUR_SECONDS, DAY_SECONDS = 3600, 86_400

_WHOSE = {"key": "tenant = :tenant AND caller = :caller", "tenant": "tenant = :tenant"}
_WAITING = """
    SELECT count(*) AS waiting FROM (
        SELECT FROM transcription WHERE {whose} AND status = 'pending' AND batch_id IS NULL LIMIT :most
    ) AS theirs
"""
_ENDED = "SELECT count(*) AS ended FROM transcription WHERE completed_at > now() - CAST(:window AS interval)"
_AUDIO = """
    SELECT coalesce((SELECT sum(audio_seconds) FROM usage_sum WHERE {whose} AND day = today), 0)
         + coalesce((SELECT sum(audio_seconds) FROM usage_entry WHERE {whose} AND day = today), 0)
         + coalesce((SELECT sum(duration) FROM transcription
                     WHERE {whose} AND status = 'pending' AND batch_id IS NULL), 0)
         + coalesce((SELECT sum(duration) FROM transcription WHERE {whose} AND status = 'in_progress'), 0) AS used,
           extract(epoch FROM (today + 1)::timestamp - now() AT TIME ZONE 'UTC')::float AS seconds_left
    FROM CAST(now() AT TIME ZONE 'UTC' AS date) AS today
"""


@dataclass(frozen=True)
class Audio:
    """Seconds of recordings that a subject may still send today, and seconds until tomorrow."""

    left: float
    seconds_left: float


def quotas_of(caller: Caller) -> list[Subject]:
    """The caller and its tenant, or the one of both that has a quota."""
    return [
        subject
        for subject in subjects_of(caller)
        if subject.limits.pending_jobs is not None or subject.limits.audio_hours_per_day is not None
    ]


async def require(
    session: AsyncSession, caller: Caller, seconds: float | None = None, *, exactly: bool = False
) -> None:
    """Raises QuotaExceeded if the caller may not add a job now. `seconds` is the length of its recording, if known.

    `exactly` keeps other jobs of the caller and its tenant from being added before the transaction ends.
    """
    for subject in quotas_of(caller):
        if exactly:
            lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:subject, 0))")
            await session.exec(lock.bindparams(subject=f"quota {subject.id}"))  # type: ignore[call-overload]
        await _require_place(session, caller, subject)
        await _require_audio(session, caller, subject, seconds or 0.0)


async def _require_place(session: AsyncSession, caller: Caller, subject: Subject) -> None:
    most = subject.limits.pending_jobs
    if most is None:
        return
    if (await _row(session, _of(subject, _WAITING), caller, most=most)).waiting < most:
        return
    ended = (await _row(session, _ENDED, window=RATE_WINDOW)).ended
    detail = f"{most} transcriptions of {subject.whose} are waiting, which is its limit."
    raise QuotaExceeded(
        detail,
        retry_after=come_back_after(most, ended) if most > 0 else None,  # with 0, no job may ever wait
        headers=_headers(f"{subject.kind}-pending", f"q={most}", "r=0"),
    )


async def _require_audio(session: AsyncSession, caller: Caller, subject: Subject, seconds: float) -> None:
    hours = subject.limits.audio_hours_per_day
    if hours is None:
        return
    audio = await audio_left(session, caller, subject)
    if audio.left > 0 and seconds <= audio.left:
        return
    most, left = hours * HOUR_SECONDS, max(0.0, audio.left)
    this = f", and this recording has {seconds:.0f} s" if seconds > left else ""
    headers = _headers(
        f"{subject.kind}-audio",
        f'q={ceil(most)};qu="audio-seconds";w={DAY_SECONDS}',
        f"r={int(left)};t={ceil(audio.seconds_left)}",
    )
    who = subject.whose[0].upper() + subject.whose[1:]
    raise QuotaExceeded(
        f"{who} may send {hours:g} hours of audio a day (UTC). Today {left:.0f} s are left{this}.",
        retry_after=ceil(audio.seconds_left) if 0 < most >= seconds else None,  # else no day has enough
        headers=headers,
    )


async def audio_left(session: AsyncSession, caller: Caller, subject: Subject) -> Audio:
    """What is left of the audio that a subject may send today. It is below 0 if it has sent more."""
    row = await _row(session, _of(subject, _AUDIO), caller)
    hours = subject.limits.audio_hours_per_day
    return Audio(inf if hours is None else hours * HOUR_SECONDS - row.used, row.seconds_left)


def _of(subject: Subject, statement: str) -> str:
    return statement.format(whose=_WHOSE[subject.kind])


async def _row(session: AsyncSession, statement: str, caller: Caller | None = None, **values: Any) -> Any:
    bound = text(statement)
    if caller is not None:
        values |= {"tenant": caller.tenant} | ({"caller": caller.label} if ":caller" in statement else {})
    return (await session.exec(bound.bindparams(**values))).one()  # type: ignore[call-overload]


def _headers(policy: str, quota: str, left: str) -> dict[str, str]:
    """What is left of a quota, as draft-ietf-httpapi-ratelimit-headers says it."""
    return {"RateLimit-Policy": f'"{policy}";{quota}', "RateLimit": f'"{policy}";{left}'}
