"""What a transcript adds to its job: the transcript itself, the words by which it is found, and who spoke how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from app.jobs.models import StoredTranscript, Transcription, UnredactedTranscript, stored_transcripts
from app.search.index import write_words
from app.search.lexemes import rows_of
from app.transcripts.dialogue import turns
from app.transcripts.transcript import Transcript


@dataclass(frozen=True)
class Result:
    stored: str
    language: str | None
    speakers: list[dict[str, Any]]
    words: Sequence[str]
    unredacted: str | None = None


def prepare(transcript: Transcript, tenant: str, unredacted: Transcript | None = None) -> Result:
    """Called in a thread, because it takes a while for a long call."""
    stored = stored_transcripts.dump_json(transcript).decode()
    kept = None if unredacted is None else stored_transcripts.dump_json(unredacted).decode()
    return Result(stored, transcript.language, speakers_of(transcript), words_of(transcript, tenant), kept)


def words_of(transcript: Transcript, tenant: str) -> list[str]:
    return rows_of([turn.text for turn in turns(transcript.segments)], tenant)


def speakers_of(transcript: Transcript) -> list[dict[str, Any]]:
    return [{"label": channel.label, "speech_seconds": channel.speech_seconds} for channel in transcript.channels]


async def write(session: AsyncSession, job: Transcription, result: Result) -> None:
    """Write the result of a job. The row of the job is written with the session."""
    session.add(StoredTranscript(transcription_id=job.id, transcript=result.stored))
    if result.unredacted is not None:
        session.add(UnredactedTranscript(transcription_id=job.id, transcript=result.unredacted))
    job.language, job.speakers = result.language, result.speakers
    with session.no_autoflush:  # so that the row of the job is written once, when all of its columns are known
        await write_words(session, job.id, result.words)
