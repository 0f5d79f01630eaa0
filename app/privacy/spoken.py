"""The words of a call as rules see them: one stream of tokens for each channel, across segments and turns. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.privacy.lexicon import Lexicon, lexicon_of, pieces
from app.transcripts.transcript import Segment, Transcript, Word


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token stands: characters of a word of a segment, which are numbered from 0."""

    segment: int
    word: int
    first: int
    last: int  # behind its last character


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number, a sign, or a character of Chinese or Japanese. `text` is in the form of `lexicon.plain`.

    `written` is the same with its accents, because the library of numbers knows words as they are written.
    `start` and `end` are the times of the word that it belongs to, in seconds.
    """

    text: str
    written: str
    start: float
    end: float
    place: Place
    language: str
    glued: bool  # nothing stands between it and the token before it
    is_capitalized: bool
    is_abbreviation: bool  # several capital letters without a small one, such as `GB`

    @property
    def is_letter(self) -> bool:
        """Whether it may be a spelled letter. A small vowel is one of the words `a`, `e`, `o` and `y`."""
        is_one = len(self.text) == 1 and self.text.isascii() and self.text.isalpha()
        return is_one and (self.is_capitalized or self.text not in "aeoiuy")


@dataclass(frozen=True)
class Stream:
    """All tokens of one channel, ordered by time."""

    channel: int
    tokens: Sequence[Token]

    def lexicon(self, at: int) -> Lexicon:
        return lexicon_of(self.tokens[at].language)


def words_of(segment: Segment) -> Sequence[Word]:
    """The words of a segment, or its whole text as one word if the model gives no words."""
    return segment.words or (Word(segment.start, segment.end, segment.text),)


def streams_of(transcript: Transcript) -> list[Stream]:
    by_channel: dict[int, list[Token]] = {}
    for number, segment in enumerate(transcript.segments):
        tokens = by_channel.setdefault(segment.channel, [])
        for position, word in enumerate(words_of(segment)):
            behind = 0 if position and not word.word[:1].isspace() else -1
            for first, last, text in pieces(word.word):
                place = Place(number, position, first, last)
                tokens.append(
                    Token(
                        text,
                        word.word[first:last].casefold(),
                        word.start,
                        word.end,
                        place,
                        segment.language,
                        first == behind,
                        word.word[first].isupper(),
                        last - first > 1 and word.word[first:last].isascii() and word.word[first:last].isupper(),
                    )
                )
                behind = last
    return [Stream(channel, tokens) for channel, tokens in sorted(by_channel.items())]
