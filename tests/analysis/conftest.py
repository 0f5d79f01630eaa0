"""A chat server, completed jobs with a dialogue, and runners of analyses."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.analysis import queue
from app.analysis.judgement import prompts
from app.analysis.judgement.client import Endpoint, open_chat
from app.analysis.judgement.dividing import Room
from app.analysis.judgement.judging import Judge
from app.analysis.judgement.ladder import Ladder
from app.analysis.models import Analysis
from app.analysis.queue import Notifying
from app.analysis.rules.meaning import Meaning
from app.analysis.runner import AnalysisRunner
from app.analysis.stage import Stage
from app.analysis.wanted import Wanted
from app.database.connections import Database
from app.database.notifications import Signals
from app.jobs.claims.ending import AtEnd
from app.jobs.events import event_of
from app.jobs.lifecycle import AudioFacts, Succeeded, Timings
from app.jobs.models import Transcription
from app.transcripts.transcript import Channel, Segment, Transcript
from testing.chat_server import MODEL, ChatServer, chat_serving
from testing.rows import claim, enqueue, finish
from testing.waiting import until


def ending(wanted: Wanted) -> AtEnd:
    """What is written at the end of jobs, whose analyses are queued if they are wanted."""
    return AtEnd(event_of, forget_audio=False, then=(partial(queue.add_if_wanted, wanted=wanted),))


async def _add_if_judged(session: AsyncSession, job: Transcription) -> None:
    """Wanted remembers for some seconds what a tenant has, so each job gets one of its own."""
    await queue.add_if_wanted(session, job, wanted=Wanted(judges=True))


JUDGED = AtEnd(event_of, forget_audio=False, then=(_add_if_judged,))
SAID = (
    "Good morning, how can I help you?",
    "My order has not arrived.",
    "I am sorry. I send it again today.",
    "Thank you, that is kind.",
)


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with chat_serving() as server:
        yield server


def transcript(*said: str, language: str = "en") -> Transcript:
    """A dialogue of an agent and a customer, who speak by turns for two seconds each."""
    labels = ("agent", "customer")
    segments = tuple(
        Segment(at, at % 2, labels[at % 2], 2.0 * at, 2.0 * at + 1.5, text, language) for at, text in enumerate(said)
    )
    channels = tuple(Channel(index, label, language, 1.0, 2.0) for index, label in enumerate(labels))
    return Transcript(language, 1.0, max(1.0, 2.0 * len(said)), channels, segments)


async def completed(
    database: Database, *said: str, tenant: str = "default", at_end: AtEnd = JUDGED, **columns: Any
) -> UUID:
    """Adds a job that a worker has completed with this dialogue. Returns its id."""
    caller = "test" if tenant == "default" else f"{tenant}:test"
    job = await enqueue(database, caller=caller, **columns)
    claimed = await claim(database, 1)
    assert [each.id for each in claimed] == [job.id]
    outcome = Succeeded(transcript(*said or SAID), AudioFacts(8.0, "pcm_mulaw", 8000, 2), Timings(0.1, 0.2))
    await finish(database, claimed[0], outcome, at_end)
    return job.id


async def analysis(database: Database, job_id: UUID) -> Analysis | None:
    async with database.transaction() as session:
        return (await session.exec(select(Analysis).where(Analysis.transcription_id == job_id))).first()


async def reached(database: Database, job_id: UUID, *statuses: str) -> Analysis:
    """Waits until the analysis has one of these statuses, or has a further attempt behind it."""
    found: list[Analysis] = []

    async def has() -> bool:
        row = await analysis(database, job_id)
        if row is not None and row.status in statuses:
            found.append(row)
        return bool(found)

    await until(has)
    return found[0]


@asynccontextmanager
async def judging(
    url: str, *, timeout_seconds: float = 5.0, context_tokens: int = 8192, intents: Sequence[str] = (), **more: Any
) -> AsyncIterator[Judge]:
    """Gives a judge that asks the server at this URL."""
    texts = prompts.load()
    async with open_chat(Endpoint(url, MODEL, more.pop("key", None), timeout_seconds), 4) as chat:
        ladder = Ladder(chat, lambda problem: texts.filled("correct", problem=problem))
        yield Judge(ladder, texts, Room.of(context_tokens), intents=intents, **more)


@asynccontextmanager
async def analysing(
    database: Database,
    url: str,
    *,
    slots: int = 4,
    meaning: Meaning | None = None,
    tokens_per_day: int | None = None,
    **how: Any,
) -> AsyncIterator[AnalysisRunner]:
    """Runs a runner until the end of the block."""
    async with judging(url, **how) as judge:
        stage = Stage(database, judge, tokens_per_day, meaning)
        runner = AnalysisRunner(database, Signals(database), stage, Notifying(), judgements=slots)
        async with running(runner):
            yield runner


@asynccontextmanager
async def running(runner: AnalysisRunner) -> AsyncIterator[None]:
    task = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        await runner.drain(0)
        await task
