"""Words of one channel that another channel's speaker said: an echo on the line, a loud headset; pure.

A word is bleed when another channel is clearly louder just then and has the same words at about the same time.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import groupby

from app.speech.segments import Heard, cut
from app.speech.transcript import Span, Word

# An echo in a headset is 10 dB or more below the voice; people who speak at once are about as loud.
LOUDER_DB = 6.0
SAME_TIME_SECONDS = 0.7
# Of the letters: what is heard twice, once faintly, is seldom written the same.
SAME_SHARE = 0.6
SHORTEST_MATCH = 3
LONGEST_WORD_SECONDS = 2.0

Loudness = Callable[[int, float, float], float]


@dataclass(frozen=True, slots=True)
class Bleed:
    """What was taken out of a channel: how many words, and where they were."""

    channel: int
    words: int
    spans: tuple[Span, ...]


def without_bleed(heard: Sequence[Heard], loudness: Loudness) -> tuple[list[Heard], list[Bleed]]:
    """What was heard less the bleed, and what that was, by channel.

    `loudness` gives a channel's root mean square between two times in seconds.
    """
    spoken = {channel: _Spoken(heard, channel) for channel in sorted({window.channel for window in heard})}
    if len(spoken) < 2:
        return list(heard), []
    kept, removed = [], {channel: list[Sequence[Word]]() for channel in spoken}
    for window in heard:
        parts = [part for phrase in cut(window.words) for part in _parts(phrase, window.channel, spoken, loudness)]
        removed[window.channel] += [words for words, is_bleed in parts if is_bleed and words]
        words = tuple(word for words, is_bleed in parts if not is_bleed for word in words)
        if words:
            kept.append(replace(window, words=words))
    return kept, [_bleed(channel, phrases) for channel, phrases in removed.items() if phrases]


class _Spoken:
    """A channel's words in the order of time, to be looked up by time."""

    def __init__(self, heard: Sequence[Heard], channel: int) -> None:
        self._words = sorted(
            (word for window in heard if window.channel == channel for word in window.words),
            key=lambda word: word.start,
        )
        self._starts = [word.start for word in self._words]

    def letters(self, start: float, end: float) -> str:
        """What was said between two times, and a little around them."""
        first = bisect_left(self._starts, start - SAME_TIME_SECONDS - LONGEST_WORD_SECONDS)
        last = bisect_left(self._starts, end + SAME_TIME_SECONDS)
        return _letters([word for word in self._words[first:last] if word.end >= start - SAME_TIME_SECONDS])


def _parts(
    phrase: Sequence[Word], channel: int, spoken: Mapping[int, _Spoken], loudness: Loudness
) -> Iterator[tuple[Sequence[Word], bool]]:
    """The phrase as a whole if it is bleed, else its stretches of words that are and that are not."""
    others = {other: words for other, words in spoken.items() if other != channel}
    near = {other: words.letters(phrase[0].start, phrase[-1].end) for other, words in others.items()}
    if not any(near.values()):
        yield phrase, False
        return
    if is_fainter(channel, others, _span(phrase), loudness) and _is_same(phrase, others):
        yield phrase, True
        return
    for faint, group in groupby(phrase, key=lambda word: is_fainter(channel, others, _span([word]), loudness)):
        words = tuple(group)
        if faint and _is_same(words, others):
            yield from _trimmed(words, others)
        else:
            yield words, False


def _trimmed(words: Sequence[Word], others: Mapping[int, _Spoken]) -> Iterator[tuple[Sequence[Word], bool]]:
    """Bleed, and the words at its ends that are the channel's own: nobody else has them."""
    foreign = [at for at, word in enumerate(words) if _is_same([word], others)]
    first, last = (foreign[0], foreign[-1] + 1) if foreign else (0, len(words))
    yield from ((words[:first], False), (words[first:last], True), (words[last:], False))


def is_fainter(channel: int, others: Iterable[int], span: Span, loudness: Loudness) -> bool:
    """Whether another channel is louder just then, by LOUDER_DB."""
    own = loudness(channel, span.start, span.end) * 10 ** (LOUDER_DB / 20)
    return any(loudness(other, span.start, span.end) > own for other in others)


def _span(words: Sequence[Word]) -> Span:
    return Span(words[0].start, words[-1].end)


def _is_same(words: Sequence[Word], others: Mapping[int, _Spoken]) -> bool:
    """Whether the words are about those of another channel."""
    letters = _letters(words)
    return any(
        _share(letters, spoken.letters(words[0].start, words[-1].end)) >= SAME_SHARE for spoken in others.values()
    )


def _share(letters: str, among: str) -> float:
    """How much of the letters stands in `among`, in the same order."""
    blocks = SequenceMatcher(None, letters, among, autojunk=False).get_matching_blocks()
    shortest = min(SHORTEST_MATCH, len(letters))
    return sum(block.size for block in blocks if block.size >= shortest) / max(1, len(letters))


def _letters(words: Sequence[Word]) -> str:
    return "".join(letter for word in words for letter in word.word.casefold() if letter.isalnum())


def _bleed(channel: int, phrases: Sequence[Sequence[Word]]) -> Bleed:
    spans = tuple(sorted(map(_span, phrases), key=lambda span: span.start))
    return Bleed(channel, sum(map(len, phrases)), spans)
