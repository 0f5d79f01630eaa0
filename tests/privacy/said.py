"""Transcripts of what was said, for tests of the redaction. Each word lasts 0.4 seconds."""

from collections.abc import Sequence

from app.transcripts.transcript import Segment, Transcript, Word

WORD_SECONDS, PAUSE_SECONDS = 0.4, 1.5


def words_of(text: str, start: float, *, spaces: bool = True) -> tuple[Word, ...]:
    """The words as a model writes them: with the space before each, and a hyphen at the beginning of a word."""
    pieces = [f" {word}" for word in text.split()] if spaces else list(text)
    return tuple(
        Word(start + WORD_SECONDS * at, start + WORD_SECONDS * (at + 1), word) for at, word in enumerate(pieces)
    )


def transcript_of(*turns: str | Sequence[str], language: str = "en", spaces: bool = True) -> Transcript:
    """A call in which the agent and the customer speak by turns. A turn may be several segments."""
    segments: list[Segment] = []
    at = 0.0
    for number, turn in enumerate(turns):
        for text in [turn] if isinstance(turn, str) else turn:
            words = words_of(text, at, spaces=spaces)
            at = words[-1].end + PAUSE_SECONDS
            label = ("agent", "customer")[number % 2]
            own = Segment(
                len(segments),
                number % 2,
                label,
                words[0].start,
                words[-1].end,
                "".join(word.word for word in words).strip(),
                language,
                words=words,
            )
            segments.append(own)
    return Transcript(language, 0.9, at, (), tuple(segments))
