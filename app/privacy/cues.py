"""Finds the phrases that announce something private, such as "my card number is", on either side of a call. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from rapidfuzz import fuzz

from app.privacy.lexicon import Phrase, lexicon_of
from app.privacy.spoken import Stream
from app.transcripts.entities import Entity

OWN_TOKENS = 14  # how far before a number its cue may be
NAMED_TOKENS = 2  # between what a number is and the word "number"
LONGEST_CUE = 16  # tokens, which are characters in Chinese and Japanese
OTHER_SECONDS = 20.0  # how long after the other side's question its answer may begin
LEAST_CHARACTERS, LEAST_LIKENESS = 7, 75.0
LONG_CHARACTERS, LEAST_LIKENESS_IF_LONG = 9, 70.0  # of a single word
# Their cues are small words, so that several other words would be like them.
WORDY = frozenset({Entity.NAME, Entity.ADDRESS})


@dataclass(frozen=True, slots=True)
class Cue:
    """Tokens `first` to `last` (behind the last one) of a channel announce an entity."""

    entity: Entity
    channel: int
    first: int
    last: int
    end: float  # seconds


class Cues:
    """All cues of a call."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._by_channel = {stream.channel: list(_cues_of(stream)) for stream in streams}  # by their first tokens
        self._by_end = {channel: sorted(cues, key=_end) for channel, cues in self._by_channel.items()}

    def of(self, stream: Stream, entity: Entity) -> list[Cue]:
        return [cue for cue in self._by_channel[stream.channel] if cue.entity is entity]

    def before(self, stream: Stream, at: int, allowed: Collection[Entity]) -> Cue | None:
        """What announces the number that begins with a token: the nearest cue of its own side, or of the other one.

        Only `allowed` entities count, so that a number is not taken for one that is much longer.
        """
        own = self._by_channel[stream.channel]
        since, until = (bisect_left(own, each, key=_first) for each in (at - OWN_TOKENS - LONGEST_CUE, at))
        near = [cue for cue in own[since:until] if at - OWN_TOKENS <= cue.last <= at and cue.entity in allowed]
        if near:
            nearest = max(near, key=lambda cue: (cue.last, cue.last - cue.first))
            named = [
                cue for cue in near if cue.entity is not Entity.NUMBER and cue.last >= nearest.first - NAMED_TOKENS
            ]
            return max(named, key=lambda cue: (cue.last, cue.last - cue.first), default=nearest)
        start = stream.tokens[at].start
        others = [
            cue
            for channel, cues in self._by_end.items()
            if channel != stream.channel
            for cue in cues[
                bisect_left(cues, start - OTHER_SECONDS, key=_end) : bisect_right(cues, start + 1, key=_end)
            ]
            if cue.entity in allowed
        ]
        return max(others, key=lambda cue: (cue.end, cue.last - cue.first), default=None)


def _first(cue: Cue) -> int:
    return cue.first


def _end(cue: Cue) -> float:
    return cue.end


def _cues_of(stream: Stream) -> Iterator[Cue]:
    for at in range(len(stream.tokens)):
        language = stream.tokens[at].language
        for length in range(1, _longest(language) + 1):
            words = texts(stream, at, at + length)
            if len(words) == length and words[0].isalpha():
                for entity in _announced_by(words, language):
                    yield Cue(entity, stream.channel, at, at + length, stream.tokens[at + length - 1].end)


@cache
def _longest(language: str) -> int:
    longest = max(len(phrase) for phrases in lexicon_of(language).cues.values() for phrase in phrases)
    assert longest <= LONGEST_CUE
    return longest


@cache
def _phrases(language: str) -> tuple[Mapping[Phrase, frozenset[Entity]], Sequence[tuple[str, Entity]]]:
    """The cues of a language by their words, and those that are long enough to be recognized if they are misspelled."""
    exact: dict[Phrase, frozenset[Entity]] = {}
    long = []
    for entity, phrases in lexicon_of(language).cues.items():
        for phrase in phrases:
            exact[phrase] = exact.get(phrase, frozenset()) | {entity}
            if len("".join(phrase)) >= LEAST_CHARACTERS and phrase[0].isalpha():
                long.append(("".join(phrase), entity))
    return exact, long


@lru_cache(maxsize=20_000)
def _announced_by(words: Phrase, language: str) -> frozenset[Entity]:
    """What these words announce. Models misspell words that they do not know, such as `Prüfmunger` for `Prüfnummer`."""
    exact, long = _phrases(language)
    if words in exact:
        return exact[words]
    said = "".join(words)
    if not said.isalpha():
        return frozenset()
    if len(said) < LEAST_CHARACTERS or not lexicon_of(language).has_spaces:
        return frozenset()
    least = LEAST_LIKENESS_IF_LONG if len(words) == 1 and len(said) >= LONG_CHARACTERS else LEAST_LIKENESS
    alike = [
        (fuzz.ratio(said, cue, score_cutoff=least), entity)
        for cue, entity in long
        if cue[0] == said[0] and (len(words) == 1 or entity not in WORDY)
    ]
    likeness, best = max(alike, key=lambda each: each[0], default=(0.0, Entity.NUMBER))
    return frozenset({best}) if likeness else frozenset()


def begins_at(stream: Stream, at: int, phrases: frozenset[Phrase]) -> int:
    """The length of the longest phrase that begins with a token, or 0."""
    return max((len(each) for each in phrases if texts(stream, at, at + len(each)) == each), default=0)


def ends_before(stream: Stream, at: int, phrases: frozenset[Phrase]) -> int:
    """The length of the longest phrase that ends before a token, or 0."""
    lengths = (len(each) for each in phrases if at >= len(each) and texts(stream, at - len(each), at) == each)
    return max(lengths, default=0)


def texts(stream: Stream, first: int, last: int) -> Phrase:
    return tuple(token.text for token in stream.tokens[first:last])
