"""Words → segments that are short enough for subtitles; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from app.speech.model import Scores
from app.speech.windows.word_times import sentence_starts
from app.transcripts.punctuation import ends_clause
from app.transcripts.transcript import Segment, Word

PAUSE_SECONDS = 0.8
# The most that a subtitle shows: 7 s, two lines of 42 characters (see subtitles.py).
MAX_SECONDS = 7.0
MAX_CHARACTERS = 84


@dataclass(frozen=True, slots=True)
class Voice:
    """Who says something, as their voice shows, and how sure that is. Both are None if it is not sure enough."""

    name: str | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said in one window of a channel. The words have the times of the recording.

    Without a `voice`, the speaker is that of the channel. If `is_spread`, the words have no times of their own: they
    share the time of the window.
    """

    channel: int
    language: str
    scores: Scores
    words: tuple[Word, ...]
    voice: Voice | None = None
    is_spread: bool = False


def segments_of(heard: Iterable[Heard], labels: Mapping[int, str], *, with_words: bool) -> tuple[Segment, ...]:
    """The segments of all channels, ordered by start and numbered from 0."""
    segments = [
        _segment(window, words, labels[window.channel], with_words)
        for window in heard
        for words in cut(window.words)
        if "".join(word.word for word in words).strip()
    ]
    segments.sort(key=lambda segment: (segment.start, segment.channel, segment.end))
    return tuple(replace(segment, id=number) for number, segment in enumerate(segments))


def cut(words: Sequence[Word]) -> list[Sequence[Word]]:
    """Cuts at the ends of sentences and at pauses. Parts that are still too long are cut at clauses or short pauses."""
    breaks = enumerate(pairwise(words), start=1)
    pauses = {at for at, (before, after) in breaks if after.start - before.end > PAUSE_SECONDS}
    edges = [0, *sorted(pauses.union(sentence_starts(words))), len(words)]
    return [part for start, end in pairwise(edges) if start < end for part in _halve(words[start:end])]


def _halve(words: Sequence[Word]) -> list[Sequence[Word]]:
    characters = sum(len(word.word) for word in words)
    if len(words) < 2 or (words[-1].end - words[0].start <= MAX_SECONDS and characters <= MAX_CHARACTERS):
        return [words]
    quarter = len(words) // 4
    middle = range(max(1, quarter), max(2, len(words) - quarter))
    at = max(middle, key=lambda index: _break(words[index - 1], words[index]) - abs(index - len(words) / 2) * 1e-6)
    return [*_halve(words[:at]), *_halve(words[at:])]


def _break(before: Word, after: Word) -> float:
    """How good a cut between two words is: the seconds of the pause, and PAUSE_SECONDS more at the end of a clause."""
    return after.start - before.end + (PAUSE_SECONDS if ends_clause(before.word) else 0.0)


def _segment(heard: Heard, words: Sequence[Word], label: str, with_words: bool) -> Segment:
    return Segment(
        id=0,
        channel=heard.channel,
        speaker=heard.voice.name if heard.voice else label,
        speaker_confidence=heard.voice.confidence if heard.voice else None,
        start=words[0].start,
        end=words[-1].end,
        text="".join(word.word for word in words).strip(),
        language=heard.language,
        temperature=heard.scores.temperature,
        avg_logprob=heard.scores.avg_logprob,
        compression_ratio=heard.scores.compression_ratio,
        no_speech_prob=heard.scores.no_speech_prob,
        words=tuple(words) if with_words else None,
    )
