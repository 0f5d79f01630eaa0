"""Renders the stored transcript of a job, for the channels that write it to files and objects."""

import asyncio
from uuid import UUID

from sqlmodel import select

from app.database.connections import Database
from app.jobs.models import StoredTranscript, stored_transcripts
from app.transcripts.formats import Format, render


async def rendered(database: Database, transcription_id: UUID, form: Format) -> bytes | None:
    """The transcript in one format, as UTF-8. None if there is none, because the transcription was erased."""
    statement = select(StoredTranscript.transcript).where(StoredTranscript.transcription_id == transcription_id)
    async with database.transaction() as session:
        stored = (await session.exec(statement)).first()
    if stored is None:
        return None
    return await asyncio.to_thread(_rendered, stored, transcription_id, form)


def _rendered(stored: str, transcription_id: UUID, form: Format) -> bytes:
    return render(stored_transcripts.validate_json(stored), str(transcription_id), form).encode()
