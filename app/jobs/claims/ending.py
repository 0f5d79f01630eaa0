"""What is written when a job ends, in the transaction that ends it.

A job ends in three ways: its worker finishes it, a client cancels it, or its last lease is lost. All three call
`write_with_end`, so that none of them forgets the event or the recording. A trigger of the database notifies programs
that listen to `callscribe_ended` (alembic/versions/20261206_table.py).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import func
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.database.commits import after_commit
from app.deliveries import outbox
from app.deliveries.outbox import NewEvent
from app.jobs.claims import parts
from app.jobs.claims.counting import count_end
from app.jobs.lifecycle import FINAL, Status, may_be_wanted_again
from app.jobs.models import Transcription, audio_keys


@dataclass(frozen=True)
class AtEnd:
    """What else is written when a job ends.

    `event_of` makes the event for the receivers of the job, or returns None if there are no receivers. If
    `forget_audio` is true, the row forgets its recording. `forget_failed_audio` says so of a job whose recording
    somebody may want again (`may_be_wanted_again`). `then` are called for a job that has ended, in its transaction.
    """

    event_of: Callable[[Transcription], NewEvent | None]
    forget_audio: bool
    forget_failed_audio: bool = True
    then: Sequence[Callable[[AsyncSession, Transcription], Awaitable[None]]] = ()

    def forgets_audio_of(self, job: Transcription) -> bool:
        return self.forget_audio and (self.forget_failed_audio or not may_be_wanted_again(job.status, job.error_code))


@dataclass(frozen=True)
class Written:
    """A job as a transaction wrote it.

    If the job has ended, `forgotten_audio` are the recordings that its row has forgotten. The caller erases them
    after the commit.
    """

    job: Transcription
    forgotten_audio: Sequence[str] = ()


async def write_with_end(session: AsyncSession, job: Transcription, at_end: AtEnd) -> Written:
    """Write the job. If it has ended, its event is written too, so that either both exist or neither does.

    The recording is cleared first, so that the event does not mention a recording that is about to be erased. The text
    that the attempt has reported goes with the attempt.
    """
    forgotten: list[str] = []
    if job.status != Status.IN_PROGRESS and job.options.get("reports_text"):
        await parts.remove(session, job.id)
    if job.status in FINAL:
        if at_end.forgets_audio_of(job):
            forgotten = audio_keys(job)
            job.audio_key = job.original_audio_key = None
            forget_terms(job)
        if not job.options.get("is_one_window"):  # nobody asked about a part of a call of another service
            if (event := at_end.event_of(job)) is not None:
                await outbox.add(session, event)
            for follow in at_end.then:
                await follow(session, job)
        after_commit(session, partial(count_end, job))
    await session.flush()
    return Written(job, forgotten)


def forget_terms(job: Transcription) -> None:
    """Forget the names to redact. They are private themselves, and needed as long as the job may be retried."""
    if job.options.get("redact_terms"):
        job.options = job.options | {"redact_terms": []}


async def now(session: AsyncSession) -> datetime:
    """The time by the database's clock. Times of jobs come from no other clock."""
    return (await session.exec(select(func.now()))).one()
