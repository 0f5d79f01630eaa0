"""Removes words of one channel that the speaker of another channel said: an echo, or a loud headset; pure.

Words are bleed if another channel is clearly louder at that time, and has either the same sound or the same words at
about the same time. A few equal words may be both speakers' own, such as "thank you". Without the same sound they are
bleed only if they follow or precede other bleed. Words that were recognized only in the bleed move to the channel that
they came from, if that channel has other words.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from enum import Enum
from functools import lru_cache
from itertools import groupby
from unicodedata import east_asian_width

from app.speech.call.channel_words import SAME_TIME_SECONDS, ChannelWords
from app.speech.call.segments import Heard, cut
from app.transcripts.transcript import Span, Word

# Parts of the letters, because speech that is recognized twice, once faintly, is seldom written in the same way.
SAME_SHARE = 0.6
ALIKE = 0.7
SHORTEST_ALIKE = 4
# Fewer words or letters prove nothing. A wide character counts as two letters.
LEAST_WORDS = 3
LEAST_LETTERS = 10
ADJOINING_SECONDS = 0.7
LONGEST_PHRASE_SECONDS = 30.0  # a window is shorter


@dataclass(frozen=True, slots=True)
class Bleed:
    """What was taken out of a channel: the number of words, and their times."""

    channel: int
    words: int
    spans: tuple[Span, ...]


class _Origin(Enum):
    OWN = 0
    DOUBTFUL = 1  # the same as on another channel, but too little to be sure
    BLEED = 2


@dataclass(frozen=True, slots=True)
class _Part:
    """Consecutive words. `source` is the channel that they come from, if nothing was recognized there at that time."""

    words: Sequence[Word]
    origin: _Origin
    source: int | None = None


def without_bleed(heard: Sequence[Heard], all_words: ChannelWords) -> tuple[list[Heard], list[Bleed]]:
    """Returns what was heard without the bleed, and the bleed of each channel. `all_words` has the words of `heard`."""
    kept, removed = [], {channel: list[Sequence[Word]]() for channel in sorted({window.channel for window in heard})}
    found, moved = list[Heard](), _Moved(all_words)
    for window in heard:
        parts = [part for phrase in cut(window.words) for part in _parts(phrase, window.channel, all_words)]
        parts = _without_doubt(_without_doubt(parts)[::-1])[::-1]
        removed[window.channel] += [part.words for part in parts if part.origin is _Origin.BLEED]
        found += [
            replace(window, channel=part.source, words=tuple(part.words))
            for part in parts
            if part.source is not None and moved.is_new(part, window.channel)
        ]
        if own := tuple(word for part in parts if part.origin is not _Origin.BLEED for word in part.words):
            kept.append(replace(window, words=own))
    return kept + found, [_bleed(channel, phrases) for channel, phrases in removed.items() if phrases]


class _Moved:
    """The words that were moved to the channel that they came from: when, and from which channel."""

    def __init__(self, all_words: ChannelWords) -> None:
        self._all_words = all_words
        self._taken: dict[int, list[tuple[float, float, int]]] = {}

    def is_new(self, part: _Part, channel: int) -> bool:
        """Whether the words were recognized neither on their source nor on a third channel. If so, records the move."""
        assert part.source is not None
        taken, span = self._taken.setdefault(part.source, []), _span(part.words)
        first = bisect_left(taken, (span.start - LONGEST_PHRASE_SECONDS,))
        last = bisect_left(taken, (span.end + SAME_TIME_SECONDS,))
        if any(end >= span.start - SAME_TIME_SECONDS and other != channel for _, end, other in taken[first:last]):
            return False
        if any(self._all_words.near(part.source, _span([word])) for word in part.words):
            return False
        insort(taken, (span.start, span.end, channel))
        return True


def _parts(phrase: Sequence[Word], channel: int, all_words: ChannelWords) -> Iterator[_Part]:
    """Judges a phrase by its text, and the words that are not bleed by their sound."""
    for words, origin in _by_text(phrase, channel, all_words):
        if origin is _Origin.BLEED:
            yield _Part(words, origin)
        else:
            yield from _by_sound(words, origin, channel, all_words)


def _by_sound(words: Sequence[Word], origin: _Origin, channel: int, all_words: ChannelWords) -> Iterator[_Part]:
    for echo, group in groupby(words, key=lambda word: all_words.echo(channel, _span([word]))):
        if echo is None:
            yield _Part(tuple(group), origin)
        elif echo.is_sure:
            yield _Part(tuple(group), _Origin.BLEED, None if echo.has_words else echo.source)
        else:
            yield _Part(tuple(group), _Origin.DOUBTFUL)


def _by_text(phrase: Sequence[Word], channel: int, all_words: ChannelWords) -> Iterator[tuple[Sequence[Word], _Origin]]:
    """Judges the whole phrase if another channel has all of it, and otherwise its louder and fainter stretches."""
    if not any(all_words.near(other, _span(phrase)) for other in all_words.others(channel)):
        yield phrase, _Origin.OWN
        return
    if all_words.is_fainter(channel, _span(phrase)) and _is_same(phrase, same := _same(phrase, channel, all_words)):
        yield phrase, _origin(phrase, same)
        return
    for faint, group in groupby(phrase, key=lambda word: all_words.is_fainter(channel, _span([word]))):
        words = tuple(group)
        same = _same(words, channel, all_words) if faint else []
        if same and _is_same(words, same):
            first, last = same[0], same[-1] + 1
            yield words[:first], _Origin.OWN
            yield words[first:last], _origin(words, same)
            yield words[last:], _Origin.OWN
        else:
            yield words, _Origin.OWN


def _without_doubt(parts: Sequence[_Part]) -> list[_Part]:
    """Decides that doubtful parts directly after bleed are bleed. Called for both directions of time."""
    decided = list(parts[:1])
    for part in parts[1:]:
        before = decided[-1]
        follows = before.origin is _Origin.BLEED and _pause(before.words, part.words) <= ADJOINING_SECONDS
        is_bleed = follows and part.origin is _Origin.DOUBTFUL
        decided.append(replace(part, origin=_Origin.BLEED, source=before.source) if is_bleed else part)
    return decided


def _pause(one: Sequence[Word], other: Sequence[Word]) -> float:
    return max(one[0].start, other[0].start) - min(one[-1].end, other[-1].end)


def _origin(words: Sequence[Word], same: Sequence[int]) -> _Origin:
    enough = len(same) >= LEAST_WORDS and sum(_size(_letters(words[at])) for at in same) >= LEAST_LETTERS
    return _Origin.BLEED if enough else _Origin.DOUBTFUL


def _is_same(words: Sequence[Word], same: Sequence[int]) -> bool:
    """Whether the words at the places `same` are most of the text."""
    sizes = [_size(_letters(word)) for word in words]
    return sum(sizes[at] for at in same) >= SAME_SHARE * max(1, sum(sizes))


def _same(words: Sequence[Word], channel: int, all_words: ChannelWords) -> list[int]:
    """The places of the words that another channel has too, in the same order. The channel with most of them counts."""
    found = (_common(words, all_words.near(other, _span(words))) for other in all_words.others(channel))
    return max(found, key=len, default=[])


def _common(words: Sequence[Word], others: Sequence[Word]) -> list[int]:
    """The places of the longest sequence of words that both have, each at about the same time."""
    row: list[tuple[int, ...]] = [()] * (len(others) + 1)
    for at, word in enumerate(words):
        before, row = row, [()]
        for position, other in enumerate(others):
            longest = max(before[position + 1], row[position], key=len)
            if (
                len(before[position]) >= len(longest)
                and _same_time(word, other)
                and _alike(*map(_letters, (word, other)))
            ):
                longest = (*before[position], at)
            row.append(longest)
    return list(row[-1])


def _same_time(word: Word, other: Word) -> bool:
    return word.start - other.end <= SAME_TIME_SECONDS and other.start - word.end <= SAME_TIME_SECONDS


@lru_cache(4096)
def _alike(one: str, other: str) -> bool:
    """Whether two words are one word that was recognized twice. Short words must be equal."""
    if min(len(one), len(other)) < SHORTEST_ALIKE:
        return one == other != ""
    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= ALIKE


def _letters(word: Word) -> str:
    return "".join(letter for letter in word.word.casefold() if letter.isalnum())


def _size(letters: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in letters)


def _span(words: Sequence[Word]) -> Span:
    return Span(words[0].start, words[-1].end)


def _bleed(channel: int, phrases: Sequence[Sequence[Word]]) -> Bleed:
    spans = tuple(sorted(map(_span, phrases), key=lambda span: span.start))
    return Bleed(channel, sum(map(len, phrases)), spans)
