"""Redacts a transcript: what is private is replaced by the name of what it is, in the text and in the words. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise

from app.privacy.announced import announced
from app.privacy.cues import Cues
from app.privacy.emails import emails_in
from app.privacy.marks import Mark, without_overlaps
from app.privacy.naming import LONG, Named, may_be, named, wanted_name
from app.privacy.numbers import LONGEST_PAUSE_SECONDS, Run, runs_of
from app.privacy.spelled import spelled_names
from app.privacy.spoken import Place, Stream, streams_of, words_of
from app.privacy.terms import terms_in
from app.transcripts.entities import Entity
from app.transcripts.transcript import Segment, Span, Transcript, Word

JOINED_SECONDS = 1.0  # shorter pauses inside what is private count as part of it
LEAST_NEAR_DIGITS, MOST_NEAR_WORDS, MOST_CHAIN_WORDS = 3, 3, 6
LONG_ENTITIES = {Entity.CREDIT_DEBIT_NUMBER, Entity.BANK_ACCOUNT_NUMBER, Entity.PHONE, Entity.ID_NUMBER}
ENDINGS = ".,?!;:。，、？！"


@dataclass(frozen=True, slots=True)
class Removed:
    """A stretch of a channel in which something private is said, in seconds."""

    channel: int
    span: Span
    entity: Entity


@dataclass(frozen=True, slots=True)
class _Cut:
    """Characters `first` to `last` of a word give way to a label, which may be empty."""

    first: int
    last: int
    label: str


@dataclass(frozen=True, slots=True)
class Redacted:
    transcript: Transcript
    removed: tuple[Removed, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many stretches of each kind were taken out, the most frequent first."""
        return dict(Counter(each.entity.value for each in self.removed).most_common())


def redact(transcript: Transcript, wanted: Set[Entity], terms: Sequence[str] = ()) -> Redacted:
    """Returns the transcript without what is private, and where it was said.

    The segments need their words, because only those have times that are exact enough to silence the recording.
    """
    transcript = replace(transcript, segments=tuple(map(_as_its_words, transcript.segments)))
    streams = streams_of(transcript)
    cues = Cues(streams)
    cuts: dict[tuple[int, int], list[_Cut]] = defaultdict(list)
    removed: list[Removed] = []
    for stream in streams:
        for mark in without_overlaps(_marks(stream, cues, wanted, terms)):
            removed += _stretches(stream, mark)
            for place, label in _labelled(stream, mark, transcript.segments):
                cuts[place.segment, place.word].append(_Cut(place.first, place.last, label))
    return Redacted(replace(transcript, segments=_without(transcript.segments, cuts)), tuple(removed))


def _as_its_words(segment: Segment) -> Segment:
    """The segment, with the text of its words if the two say different things: only words are searched and cut."""
    text = "".join(word.word for word in segment.words or ()).strip()
    if not segment.words or _said(text) == _said(segment.text):
        return segment
    return replace(segment, text=text)


def _said(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def _marks(stream: Stream, cues: Cues, wanted: Set[Entity], terms: Sequence[str]) -> Iterator[Mark]:
    if Entity.EMAIL in wanted:
        for first, last in emails_in(stream):
            yield Mark(stream.channel, first, last, Entity.EMAIL)
    yield from (mark for mark in announced(stream, cues) if mark.entity in wanted)
    yield from _numbers(stream, cues, wanted)
    if Entity.NAME in wanted:
        yield from spelled_names(stream)
    yield from terms_in(stream, terms)


def _numbers(stream: Stream, cues: Cues, wanted: Set[Entity]) -> Iterator[Mark]:
    """The numbers that are private, and those around them: models write a word between two groups of one number."""
    private: dict[Run, Entity] = {}
    runs = runs_of(stream)
    for run in runs:
        name = named(run, cues.before(stream, run.first, may_be(run)))
        if name and (entity := wanted_name(run, name, wanted)):
            private[run] = entity
    for chain in _chains(stream, runs):
        entity = _announced_chain(stream, cues, chain, wanted)
        private |= {run: entity for run in chain if entity and run not in private}
    for before, after in (*pairwise(runs), *pairwise(reversed(runs))):
        if before in private and after not in private and _is_near(stream, before, after):
            private[after] = private[before]
    for run in runs:
        if run in private:
            yield Mark(stream.channel, run.first, run.last, private[run])


def _chains(stream: Stream, runs: Sequence[Run]) -> Iterator[Sequence[Run]]:
    """Groups of digits with a few words between them: "415, I think, yes, 415, let me see, 555"."""
    chain: list[Run] = []
    for run in runs:
        if len(run.digits) < LEAST_NEAR_DIGITS:
            continue
        if chain and not _is_near(stream, chain[-1], run, MOST_CHAIN_WORDS):
            yield chain
            chain = []
        chain.append(run)
    yield chain


def _announced_chain(stream: Stream, cues: Cues, chain: Sequence[Run], wanted: Set[Entity]) -> Entity | None:
    """What a number is that was said in several groups, if it was announced and is long enough to be private."""
    if len(chain) < 2:
        return None
    whole = Run(tuple(part for run in chain for part in run.parts))
    cue = cues.before(stream, whole.first, may_be(whole) & LONG_ENTITIES)
    if cue is None or whole.is_years or len(whole.digits) < LONG:
        return None
    return wanted_name(whole, Named(cue.entity, True), wanted)


def _is_near(stream: Stream, one: Run, other: Run, most_words: int = MOST_NEAR_WORDS) -> bool:
    first, last = sorted((one, other), key=lambda run: run.first)
    apart = stream.tokens[last.first].start - stream.tokens[first.last - 1].end
    words = sum(token.text.isalnum() for token in stream.tokens[first.last : last.first])
    return len(other.digits) >= LEAST_NEAR_DIGITS and words <= most_words and apart <= LONGEST_PAUSE_SECONDS


def _stretches(stream: Stream, mark: Mark) -> Iterator[Removed]:
    """Where a mark is heard. A pause in it, in which the other side may speak, parts it."""
    tokens = stream.tokens[mark.first : mark.last]
    start, end = tokens[0].start, tokens[0].end
    for token in tokens[1:]:
        if token.start - end > JOINED_SECONDS:
            yield Removed(stream.channel, Span(start, end), mark.entity)
            start = token.start
        end = max(end, token.end)
    yield Removed(stream.channel, Span(start, end), mark.entity)


def _labelled(stream: Stream, mark: Mark, segments: Sequence[Segment]) -> Iterator[tuple[Place, str]]:
    """The places of a mark. The first one has its label, and again the first one after the other side has spoken."""
    at: int | None = None
    for token in stream.tokens[mark.first : mark.last]:
        now = token.place.segment
        is_new = at is None or any(segments[each].channel != stream.channel for each in range(at + 1, now))
        yield token.place, mark.entity.label if is_new else ""
        at = now


def _without(segments: Sequence[Segment], cuts: Mapping[tuple[int, int], Sequence[_Cut]]) -> tuple[Segment, ...]:
    """The segments after the cuts. One of which nothing is left becomes part of the one before it."""
    kept: list[Segment] = []
    latest: dict[int, int] = {}  # the last one that is kept of each channel
    for number, segment in enumerate(segments):
        words = words_of(segment)
        if not any((number, position) in cuts for position in range(len(words))):
            latest[segment.channel] = len(kept)
            kept.append(segment)
            continue
        left = _words_without([(word, cuts.get((number, at), ())) for at, word in enumerate(words)])
        text = "".join(word.word for word in left).strip()
        if text.strip(ENDINGS + " "):
            latest[segment.channel] = len(kept)
            kept.append(replace(segment, text=text, words=tuple(left) if segment.words else segment.words))
            continue
        at = latest[segment.channel]
        kept[at] = _longer(kept[at], segment.end, text[-1:] or _sign(segment.text))
    return tuple(replace(segment, id=number) for number, segment in enumerate(kept))


def _longer(segment: Segment, end: float, sign: str) -> Segment:
    """The segment with what follows it, of which nothing is left but its sign."""
    words = segment.words
    if words:
        last = words[-1]
        words = (*words[:-1], replace(last, word=_ended(last.word, sign), end=max(last.end, end)))
    return replace(segment, text=_ended(segment.text, sign), end=max(segment.end, end), words=words)


def _sign(text: str) -> str:
    """The sign with which a text ends, or nothing."""
    return text.rstrip()[-1:] if text.rstrip().endswith(tuple(ENDINGS)) else ""


def _words_without(words: Iterable[tuple[Word, Sequence[_Cut]]]) -> list[Word]:
    """The words after the cuts. A word of which nothing is left but its signs adds its time to the word before it."""
    left: list[Word] = []
    for word, cuts in words:
        text = _cut(word.word, cuts)
        if not cuts:
            left.append(word)
        elif text.strip(ENDINGS + " "):
            left.append(replace(word, word=text, probability=None))
        elif left:
            sign = text.strip()[-1:] or _sign(word.word)
            left[-1] = replace(left[-1], word=_ended(left[-1].word, sign), end=max(left[-1].end, word.end))
    return left


def _ended(text: str, sign: str) -> str:
    """The text with this sign at its end, if there is a sign, instead of those that it has."""
    return text.rstrip(ENDINGS) + sign if sign else text


def _cut(text: str, cuts: Sequence[_Cut]) -> str:
    parts, behind = [], 0
    for cut in sorted(cuts, key=lambda cut: cut.first):
        between = text[behind : cut.first]
        parts += [between if behind == 0 or between.strip(ENDINGS + " ") else "", cut.label]
        behind = cut.last
    return "".join([*parts, text[behind:]])
