"""Writes the words of calls into the table by which they are found."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel.ext.asyncio.session import AsyncSession

_WRITE = text("""
    INSERT INTO transcript_search (transcription_id, part, words)
    SELECT :call, number - 1, row::tsvector FROM unnest(:rows) WITH ORDINALITY AS words (row, number)
    ON CONFLICT DO NOTHING
""").bindparams(bindparam("rows", type_=ARRAY(Text)))


async def write_words(session: AsyncSession, transcription_id: UUID, rows: Sequence[str]) -> None:
    """Write the rows of a call (`lexemes.rows_of`). A call that has rows keeps those."""
    await session.exec(_WRITE.bindparams(call=transcription_id, rows=list(rows)))  # type: ignore[call-overload]
