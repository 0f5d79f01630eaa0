"""Completed calls in which something was said, without a worker."""

from collections.abc import Sequence
from typing import Any

from app.database.connections import Database
from app.jobs.lifecycle import AudioFacts, Succeeded, Timings
from app.jobs.models import Transcription
from app.transcripts.transcript import Channel, Segment, Transcript
from testing.rows import claim, enqueue, finish, read

LABELS = ("agent", "customer")


def transcript_of(*turns: str, language: str | None = "en") -> Transcript:
    """The agent and the customer say the turns by turns, ten seconds each."""
    segments = tuple(
        Segment(number, number % 2, LABELS[number % 2], 10.0 * number, 10.0 * number + 9, text, language or "en")
        for number, text in enumerate(turns)
    )
    seconds = [9.0 * len(turns[channel::2]) for channel in (0, 1)]
    channels = tuple(Channel(at, label, language, 0.9, seconds[at]) for at, label in enumerate(LABELS))
    return Transcript(language, 0.9, 10.0 * len(turns), channels, segments)


async def said(database: Database, *turns: str, language: str | None = "en", **columns: Any) -> Transcription:
    """A completed call in which this was said. The queue must be empty."""
    job = await enqueue(database, **columns)
    [claimed] = await claim(database)
    transcript = transcript_of(*turns, language=language)
    facts = AudioFacts(transcript.duration, "pcm_mulaw", 8000, 2)
    await finish(database, claimed, Succeeded(transcript, facts, Timings(0.1, 0.2)))
    return await read(database, job.id)


def ids(jobs: Sequence[Transcription]) -> list[str]:
    return [str(job.id) for job in jobs]
