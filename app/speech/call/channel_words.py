"""The words of all channels by time, and comparisons of how the channels sound at that time.

It reads no samples itself, but calls functions that measure them.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import median

from app.speech.call.segments import Heard
from app.transcripts.transcript import Span, Word

# An echo in a headset is 10 dB or more below the voice; people who speak at the same time are about equally loud.
LOUDER = 10 ** (6 / 20)
SAME_TIME_SECONDS = 0.7
LONGEST_ALIGNED_WORD_SECONDS = 2.0  # `near` expects no longer word
MOST_WORDS_MEASURED = 200
MOST_MEASURED = 1024
# Likeness on a real call: two people's words 0.28 at most; copies that are 15 and 25 dB fainter 0.96 or more; copies
# through a low pass or a telephone's band 0.65; through a room 0.24 to 0.5. From 0.7 on, half of the sound is a copy.
COPIED = 0.7
TOO_ALIKE = 0.4  # to be the words of two people

Loudness = Callable[[int, float, float], float]
Likeness = Callable[[int, int, float, float], float]


@dataclass(frozen=True, slots=True)
class Echo:
    """A copy of the sound of the louder channel `source`.

    `is_sure` says whether the copy is most of the sound. `has_words` says whether words were recognized at the same
    time on a channel that sounds alike.
    """

    source: int
    is_sure: bool
    has_words: bool


class ChannelWords:
    """The words of all channels.

    `loudness` returns a channel's root mean square between two times in seconds. `likeness` returns how much of the
    first channel's sound is that of the second, 0 to 1.
    """

    def __init__(self, heard: Iterable[Heard], loudness: Loudness, likeness: Likeness) -> None:
        self._loudness = lru_cache(MOST_MEASURED)(loudness)
        self._likeness = likeness
        self._words: dict[int, list[Word]] = {}
        for window in heard:
            self._words.setdefault(window.channel, []).extend(window.words)
        for words in self._words.values():
            words.sort(key=lambda word: word.start)
        self._starts = {channel: [word.start for word in words] for channel, words in self._words.items()}

    def others(self, channel: int) -> list[int]:
        """The other channels that have words."""
        return [other for other in sorted(self._words) if other != channel]

    def near(self, channel: int, span: Span) -> Sequence[Word]:
        """The words of a channel in a stretch and shortly before and after it, ordered by start."""
        first = bisect_left(self._starts[channel], span.start - SAME_TIME_SECONDS - LONGEST_ALIGNED_WORD_SECONDS)
        last = bisect_left(self._starts[channel], span.end + SAME_TIME_SECONDS)
        return [word for word in self._words[channel][first:last] if word.end >= span.start - SAME_TIME_SECONDS]

    def is_fainter(self, channel: int, span: Span) -> bool:
        """Whether another channel is louder than this one during `span`, by the factor LOUDER.

        If the other channel is always louder, it must be louder than usual by that factor.
        """
        return any(
            self._is_louder(other, channel, span, self._usually_louder(other, channel))
            for other in self.others(channel)
        )

    def echo(self, channel: int, span: Span) -> Echo | None:
        """Whether this channel sounds like louder ones during `span`."""
        alike = {
            other: likeness
            for other in self.others(channel)
            if self._is_louder(other, channel, span)
            and (likeness := self._likeness(channel, other, span.start, span.end)) >= TOO_ALIKE
        }
        if not alike:
            return None
        source = max(alike, key=lambda other: self._loudness(other, span.start, span.end))
        return Echo(source, max(alike.values()) >= COPIED, any(self.near(other, span) for other in alike))

    def _is_louder(self, other: int, channel: int, span: Span, times: float = 1.0) -> bool:
        own = LOUDER * times * self._loudness(channel, span.start, span.end)
        return self._loudness(other, span.start, span.end) > own

    def _usually_louder(self, other: int, channel: int) -> float:
        """How many times louder the other channel usually is; 1 if it is not, or if that is not known."""
        if other not in self._usual or channel not in self._usual:
            return 1.0
        return max(1.0, self._usual[other] / max(self._usual[channel], 1e-9))

    @cached_property
    def _usual(self) -> Mapping[int, float]:
        """The median loudness of each channel's words, without words that may be bleed of a louder channel."""
        own = {
            channel: [
                self._of(channel, word)
                for word in words[:: 1 + len(words) // MOST_WORDS_MEASURED]
                if not self._may_be_bleed(channel, word)
            ]
            for channel, words in self._words.items()
        }
        return {channel: median(levels) for channel, levels in own.items() if levels}

    def _may_be_bleed(self, channel: int, word: Word) -> bool:
        loud = LOUDER * self._of(channel, word)
        span = Span(word.start, word.end)
        return any(self._of(other, near) > loud for other in self.others(channel) for near in self.near(other, span))

    def _of(self, channel: int, word: Word) -> float:
        return self._loudness(channel, word.start, word.end)
