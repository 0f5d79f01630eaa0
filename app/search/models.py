"""The table of the words of calls, by which calls are found."""

from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlmodel import Field, SQLModel


class TranscriptSearch(SQLModel, table=True):
    """The words of a call: row 0 has all of them. If the call is long, further rows have its parts (`lexemes`).

    The words are stored apart from the row, whatever their size. So many rows fit into a page, and a common word costs
    PostgreSQL few pages.
    """

    __tablename__ = "transcript_search"
    __table_args__ = (
        Index("transcript_search_words", "words", postgresql_using="gin", postgresql_where=text("part = 0")),
        {"postgresql_with": {"toast_tuple_target": 128}},
    )

    transcription_id: UUID = Field(primary_key=True, foreign_key="transcription.id", ondelete="CASCADE")
    part: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    words: str = Field(sa_type=TSVECTOR)
