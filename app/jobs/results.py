"""What a transcript adds to its job: the transcript, the words by which it is found, and the figures of reports."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from app.jobs.figures import Figures
from app.jobs.models import CallFacts, StoredTranscript, Transcription, UnredactedTranscript, stored_transcripts
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
    figures: Figures
    unredacted: str | None = None


def prepare(transcript: Transcript, tenant: str, unredacted: Transcript | None = None) -> Result:
    """Called in a thread, because it takes a while for a long call."""
    stored = stored_transcripts.dump_json(transcript).decode()
    kept = None if unredacted is None else stored_transcripts.dump_json(unredacted).decode()
    return Result(
        stored,
        transcript.language,
        speakers_of(transcript),
        words_of(transcript, tenant),
        Figures.of(transcript),
        kept,
    )


def words_of(transcript: Transcript, tenant: str) -> list[str]:
    return rows_of([turn.text for turn in turns(transcript.segments)], tenant)


def speakers_of(transcript: Transcript) -> list[dict[str, Any]]:
    """The channels. If voices were told apart, the voices, which share the speech of their channel by their segments.

    What nobody is named for has its part of the speech too, and is not listed.
    """
    if not any(segment.is_by_voice for segment in transcript.segments):
        return [{"label": each.label, "speech_seconds": each.speech_seconds} for each in transcript.channels]
    spoken, of_channel = defaultdict[str, float](float), defaultdict[int, float](float)
    for segment in transcript.segments:
        of_channel[segment.channel] += segment.end - segment.start
    for segment in transcript.segments:
        if segment.speaker is not None and (whole := of_channel[segment.channel]):
            part = (segment.end - segment.start) / whole * transcript.channels[segment.channel].speech_seconds
            spoken[segment.speaker] += part
    return [{"label": label, "speech_seconds": round(seconds, 2)} for label, seconds in spoken.items()]


async def write(session: AsyncSession, job: Transcription, result: Result) -> None:
    """Write the result of a job. The row of the job is written with the session."""
    session.add(StoredTranscript(transcription_id=job.id, transcript=result.stored))
    if result.unredacted is not None:
        session.add(UnredactedTranscript(transcription_id=job.id, transcript=result.unredacted))
    job.language, job.speakers = result.language, result.speakers
    with session.no_autoflush:  # so that the row of the job is written once, when all of its columns are known
        await write_words(session, job.id, result.words)
        await write_figures(session, job.id, result.figures)


async def write_figures(session: AsyncSession, transcription_id: UUID, figures: Figures) -> None:
    """Write the figures of a call. A call that has figures keeps those."""
    hold, interruption = figures.longest_hold_at, figures.first_interruption_at
    values = {field.name: getattr(figures, field.name) for field in fields(Figures) if not field.name.endswith("_at")}
    for name, place in (("longest_hold", hold), ("first_interruption", interruption)):
        values |= {f"{name}_start": place and place.start, f"{name}_turn": place and place.turn}
    row = insert(CallFacts).values(transcription_id=transcription_id, **values)
    await session.exec(row.on_conflict_do_nothing())
