"""Finds what was said that a query asks for: some places of a call, with marks. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.search.query import Query, Term
from app.search.words import Unit, units
from app.transcripts.dialogue import grouped
from app.transcripts.transcript import Segment, joined_text

MOST_HITS = 3
LONGEST_TEXT = 300  # characters; a longer turn has several places, unless one segment is longer

Mark = tuple[int, int]


@dataclass(frozen=True)
class Hit:
    """A turn, or a part of a long one, that has some of the words.

    `start` is when the segment with the first of the words begins, in seconds. `marks` are the stretches of the text
    that match, in characters.
    """

    start: float
    speaker: str | None
    text: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Hits:
    """`shown` are up to MOST_HITS places of the `count` that a call has."""

    shown: tuple[Hit, ...]
    count: int


NO_HITS = Hits((), 0)


def hits(segments: Sequence[Segment], query: Query) -> Hits:
    """The places of a call, in its order. Each term is in one of those shown, if there is room for it."""
    found = [place for group in grouped(segments) for place in _places(group, query)]
    chosen = sorted(_covering([terms for _, terms in found]))
    return Hits(tuple(found[at][0] for at in chosen), len(found))


def _places(turn: Sequence[Segment], query: Query) -> Iterator[tuple[Hit, set[Term]]]:
    """The places of a turn, each with the terms that it has."""
    text = joined_text(turn)
    spoken = units(text)
    marked = {term: list(_matches(term, spoken)) for term in query.terms}
    marks = list(_joined(sorted({mark for own in marked.values() for mark in own})))
    begins = _begins(turn, text)
    ends = [begin + len(segment.text) for begin, segment in zip(begins, turn, strict=True)]
    for first, last in _parts(marks, begins, ends):
        begin, end = begins[first], ends[last]
        inside = [(from_ - begin, to - begin) for from_, to in marks if begin <= from_ < end]
        start = turn[bisect_right(begins, inside[0][0] + begin) - 1].start
        terms = {term for term, own in marked.items() if any(begin <= from_ < end for from_, _ in own)}
        yield Hit(start, turn[0].speaker, text[begin:end], tuple(inside)), terms


def _begins(turn: Sequence[Segment], text: str) -> list[int]:
    """Where each segment begins in the text of its turn."""
    begins, end = [], 0
    for segment in turn:
        begins.append(text.index(segment.text, end))
        end = begins[-1] + len(segment.text)
    return begins


def _parts(marks: Sequence[Mark], begins: Sequence[int], ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the last segment of each place: those of marks that are near each other, and some around them."""
    last = len(ends) - 1
    if marks and ends[last] <= LONGEST_TEXT:
        yield 0, last
        return
    near: list[tuple[int, int]] = []
    for begin, end in marks:
        first, last_of_mark = bisect_right(begins, begin) - 1, bisect_right(begins, end - 1) - 1
        if near and (first <= near[-1][1] or ends[last_of_mark] - begins[near[-1][0]] <= LONGEST_TEXT):
            near[-1] = (near[-1][0], max(near[-1][1], last_of_mark))
        else:
            near.append((first, last_of_mark))
    before = -1
    for first, end in near:
        if first - 1 > before and ends[end] - begins[first - 1] <= LONGEST_TEXT:
            first -= 1
        while end < last and ends[end + 1] - begins[first] <= LONGEST_TEXT:
            end += 1
        yield first, end
        before = end


def _covering(terms: Sequence[set[Term]]) -> set[int]:
    """Which places to show: for each term the first one that has it, then the first of the others."""
    chosen: dict[int, None] = {}
    seen: set[Term] = set()
    for at, own in enumerate(terms):
        if own - seen:
            chosen[at] = None
            seen |= own
    return set([*chosen, *(at for at in range(len(terms)) if at not in chosen)][:MOST_HITS])


def _matches(term: Term, spoken: Sequence[Unit]) -> Iterator[Mark]:
    length = len(term.units)
    for at in range(len(spoken) - length + 1):
        if _fits(term, spoken[at : at + length]):
            yield spoken[at].start, spoken[at + length - 1].end


def _fits(term: Term, spoken: Sequence[Unit]) -> bool:
    """Whether the units are the same, and those that are neighbours in a script without spaces are so in the text."""
    *others, last = (unit.text for unit in term.units)
    *spoken_others, spoken_last = (unit.text for unit in spoken)
    if spoken_others != others or not (spoken_last.startswith(last) if term.is_open else spoken_last == last):
        return False
    return all(
        left.run is None or left.run != right.run or spoken_left.run == spoken_right.run
        for (left, right), (spoken_left, spoken_right) in zip(pairwise(term.units), pairwise(spoken), strict=True)
    )


def _joined(marks: Sequence[Mark]) -> Iterator[Mark]:
    """The marks without overlaps."""
    if not marks:
        return
    start, end = marks[0]
    for other_start, other_end in marks[1:]:
        if other_start <= end:
            end = max(end, other_end)
        else:
            yield start, end
            start, end = other_start, other_end
    yield start, end
