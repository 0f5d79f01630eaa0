"""Gives the words of a call to the voices that say them, where several voices may share a track; pure.

Recognition and the models of voices know nothing of each other. Both say when, and here the times are compared: a word
belongs to the voice that speaks for most of it. If words have no times of their own, all belong to the only voice of
their window, or to nobody. Names are given only here, so that they are counted by what was said.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from app.speech.call.segments import Heard, Voice, cut
from app.speech.speakers.voices import VoiceTurn
from app.transcripts.transcript import Word

Turns = Mapping[int, Sequence[VoiceTurn]]

SHORTEST_TURN_SECONDS = 0.6  # a voice in less than this is often mistaken for another
# The times of words and of voices differ a little, so a word beside a turn may belong to it.
NEAR_SECONDS = 0.3
NOBODY = Voice(None, None)


@dataclass(frozen=True, slots=True)
class _Said:
    """A word, and the number of its voice. None if it is not sure who says it."""

    word: Word
    speaker: int | None
    confidence: float


def by_voices(heard: Sequence[Heard], turns: Turns, labels: Mapping[int, str], *, one_track: bool) -> list[Heard]:
    """What was heard, cut where the voice changes. Each part knows its voice.

    Voices are named after the label of their channel: `agent_1`, `agent_2`, in the order in which they first speak. If
    the channels are separate, a channel with one voice keeps its label. `turns` holds the voices of each channel, in
    the order of time. A channel that is missing there has unknown speakers on one track, and otherwise its label.
    """
    found = {channel: _Turns(of_channel) for channel, of_channel in turns.items()}
    parts = [
        (window, group)
        for window in sorted(heard, key=lambda window: window.words[0].start if window.words else 0.0)
        for group in _groups(window, found.get(window.channel))
    ]
    numbers: dict[int, dict[int, int]] = {channel: {} for channel in turns}
    for window, group in parts:
        if (speaker := group[0].speaker) is not None:
            of_channel = numbers[window.channel]
            of_channel.setdefault(speaker, len(of_channel) + 1)

    def voice(channel: int, group: Sequence[_Said]) -> Voice | None:
        if channel not in turns:
            return NOBODY if one_track else None
        if (speaker := group[0].speaker) is None:
            return NOBODY
        label, of_channel = labels[channel], numbers[channel]
        name = f"{label}_{of_channel[speaker]}" if one_track or len(of_channel) > 1 else label
        return Voice(name, _confidence(group))

    return [
        replace(window, words=tuple(each.word for each in group), voice=voice(window.channel, group))
        for window, group in parts
    ]


class _Turns:
    """The turns of a channel. They are in the order of time, and do not overlap."""

    def __init__(self, turns: Sequence[VoiceTurn]) -> None:
        self._turns = turns
        self._starts = [turn.start for turn in turns]
        self._ends = [turn.end for turn in turns]

    def of(self, word: Word) -> _Said:
        """The word with the voice that speaks for most of it, or that speaks nearest to it."""
        near = self._near(word.start - NEAR_SECONDS, word.end + NEAR_SECONDS)
        turn = max(near, key=lambda turn: min(turn.end, word.end) - max(turn.start, word.start), default=None)
        if turn is None or turn.end - turn.start < SHORTEST_TURN_SECONDS:
            return _Said(word, None, 0.0)
        return _Said(word, turn.speaker, turn.confidence)

    def of_all(self, words: Sequence[Word]) -> list[_Said]:
        """The words with the only voice between the first and the last of them. Nobody says them if there are several.

        Also a turn of somebody unknown is one of another voice.
        """
        near = self._near(words[0].start + NEAR_SECONDS, words[-1].end - NEAR_SECONDS)
        long = [turn for turn in near if turn.end - turn.start >= SHORTEST_TURN_SECONDS]
        voices = {turn.speaker for turn in long}
        speaker = voices.pop() if len(voices) == 1 else None
        confidence = 0.0 if speaker is None else min(turn.confidence for turn in long)
        return [_Said(word, speaker, confidence) for word in words]

    def _near(self, start: float, end: float) -> Sequence[VoiceTurn]:
        return self._turns[bisect_left(self._ends, start) : bisect_right(self._starts, end)]


def _groups(window: Heard, turns: _Turns | None) -> list[list[_Said]]:
    """The words of a window, in groups of one voice each."""
    if turns is None:
        return [[_Said(word, None, 0.0) for word in window.words]] if window.words else []
    if window.is_spread and window.words:
        return [turns.of_all(window.words)]
    said = [each for part in cut(window.words) for each in _settled([turns.of(word) for word in part])]
    return [list(group) for _, group in groupby(said, key=lambda each: each.speaker)]


def _settled(said: Sequence[_Said]) -> Sequence[_Said]:
    """The words of a sentence, of which one word at its edge is no turn of another voice.

    Such a word comes from times that differ a little, because a voice rarely changes one word after a sentence begins.
    """
    if len(said) < 3:
        return said
    first, second, *_, last_but_one, last = said if len(said) > 3 else (*said[:2], *said[1:])
    begin = replace(second, word=first.word) if _is_edge(first, second) else first
    end = replace(last_but_one, word=last.word) if _is_edge(last, last_but_one) else last
    return [begin, *said[1:-1], end]


def _is_edge(edge: _Said, inner: _Said) -> bool:
    return edge.speaker != inner.speaker and edge.word.end - edge.word.start < SHORTEST_TURN_SECONDS


def _confidence(group: Sequence[_Said]) -> float:
    """The mean of the words, by their length."""
    lengths = [max(0.01, each.word.end - each.word.start) for each in group]
    return sum(each.confidence * length for each, length in zip(group, lengths, strict=True)) / sum(lengths)
