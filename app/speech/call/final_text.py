"""Finds the text of a recording that is final while other windows of it still wait to be recognized; pure.

A window is settled when its words are known. Its segments are final if no window that begins before them can follow: a
window that waits or is being recognized, speech that the model missed, or speech that is not read or not cut yet.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from app.speech.call.segments import Heard, segments_of
from app.speech.windows.cutting import Window
from app.transcripts.transcript import Segment

ROUNDING_SECONDS = 0.01  # the times of words are rounded, so a word may begin this much before its window

# Words are compared with the words of other channels around them, at most this far away: see `ChannelWords.near`.
COMPARED_SECONDS = 3.0
# How loud a channel usually is shows in its words of about this time. The whole call would cost more with its length.
RECENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class FinalText:
    """Segments that are final, ordered by start, and without their words.

    With the segments reported before, they are all text that begins before `until`, in seconds.
    """

    segments: tuple[Segment, ...]
    until: float


class Frontier:
    """The time before which no more words of a recording can be found. It only moves forward.

    `moved` is called each time that it has moved. A session calls the other methods under its lock.
    """

    def __init__(self, channels: Sequence[int], moved: Callable[[], None]) -> None:
        self._moved = moved
        self._unread_from = dict.fromkeys(channels, 0.0)
        self._unsettled: Counter[float] = Counter()
        self.time = 0.0

    def found(self, windows: Sequence[Window]) -> None:
        """These windows will be settled later. Call it before `unread_from`, which may pass them."""
        self._unsettled.update(window.start for window in windows)

    def unread_from(self, channel: int, seconds: float) -> None:
        """No window of this channel that is found later begins before `seconds`."""
        self._unread_from[channel] = seconds
        self._move()

    def settled(self, window: Window, missed: Sequence[Window]) -> None:
        """The words of a window are known. The windows of the speech that was missed in it will be settled later."""
        self._unsettled.update(each.start for each in missed)
        self._unsettled[window.start] -= 1
        if not self._unsettled[window.start]:
            del self._unsettled[window.start]
        self._move()

    def is_held_by(self, window: Window) -> bool:
        """Whether the text after this window waits for it. Any thread may ask, without the lock."""
        return window.start <= self.time + 2 * ROUNDING_SECONDS

    def _move(self) -> None:
        time = min((*self._unread_from.values(), *self._unsettled)) - ROUNDING_SECONDS
        if time > self.time:
            self.time = time
            self._moved()


class FinalTextFinder:
    """Gives each final segment once, in the order of the transcript.

    For one channel, the segments are those of the transcript. For several channels, `without_bleed` returns what was
    heard without the words that belong to another channel. It gets only the windows of about the last minute, so a few
    segments may differ from those of the transcript:

    - A word may be taken for bleed in one of the two and not in the other, because the transcript compares each channel
      with how loud it usually is in the whole call.
    - A long sentence may be cut into segments at other words, because the first part of it may be final before it is
      known whether the end of it is bleed.
    - The numbers of the segments may differ for the same two reasons.
    """

    def __init__(
        self,
        speakers: Mapping[int, str],
        without_bleed: Callable[[Sequence[Heard]], Sequence[Heard]] | None = None,
    ) -> None:
        self._speakers = speakers
        self._without_bleed = without_bleed
        self._recent: list[Heard] = []
        self._given = 0
        self._given_until = dict.fromkeys(speakers, 0.0)
        self._until = 0.0

    def take(self, heard: Sequence[Heard], frontier: float) -> FinalText | None:
        """The segments that became final, or None if there are none.

        `heard` are the windows that were settled since the last call. `frontier` is the time of the `Frontier`.
        """
        self._recent += heard
        segments, until = self._segments_until(frontier)
        if until <= self._until:
            return None
        final = [segment for segment in segments if self._until <= segment.start < until]
        if not final:
            return None
        self._until = until
        for segment in final:
            self._given_until[segment.channel] = max(self._given_until[segment.channel], segment.end)
        self._forget()
        numbered = tuple(replace(each, id=number) for number, each in enumerate(final, start=self._given))
        self._given += len(numbered)
        return FinalText(numbered, until)

    def _segments_until(self, frontier: float) -> tuple[Sequence[Segment], float]:
        """Segments that are not given yet, and the time before which they are final."""
        if self._without_bleed is None:
            return segments_of(self._recent, self._speakers, with_words=False), frontier
        own = [self._not_given(window) for window in self._without_bleed(self._recent)]
        segments = segments_of(own, self._speakers, with_words=False)
        judged_until = frontier - COMPARED_SECONDS
        return segments, min((each.start for each in segments if each.end > judged_until), default=judged_until)

    def _not_given(self, window: Heard) -> Heard:
        given_until = self._given_until[window.channel]
        return replace(window, words=tuple(word for word in window.words if word.start >= given_until))

    def _forget(self) -> None:
        kept_from = self._until - (RECENT_SECONDS if self._without_bleed else 0.0)
        self._recent = [window for window in self._recent if window.words and window.words[-1].end >= kept_from]


def rest_of(segments: Sequence[Segment], until: float) -> FinalText:
    """What is left of a transcript's segments after all text that begins before `until` was given."""
    return FinalText(tuple(replace(each, words=None) for each in segments if each.start >= until), inf)
