"""Finds what was said that a query asks for: some turns of a call, with marks. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.search.query import Query, Term
from app.search.words import Unit, units
from app.transcripts.dialogue import turns
from app.transcripts.transcript import Segment

MOST_HITS = 3


@dataclass(frozen=True)
class Hit:
    """A turn that has some of the words. `marks` are the stretches of its text that match, in characters."""

    start: float
    speaker: str
    text: str
    marks: tuple[tuple[int, int], ...]


def hits(segments: Sequence[Segment], query: Query) -> list[Hit]:
    """Up to MOST_HITS turns, in the order of the call. Each term is in one of them, if there is room for it."""
    found: list[tuple[int, Hit, set[Term]]] = []
    for number, turn in enumerate(turns(segments)):
        spoken = units(turn.text)
        marked = {term: list(_matches(term, spoken)) for term in query.terms}
        marks = sorted({mark for marks in marked.values() for mark in marks})
        if marks:
            hit = Hit(turn.start, turn.speaker, turn.text, tuple(_joined(marks)))
            found.append((number, hit, {term for term, marks in marked.items() if marks}))
    chosen = [found[at] for at in sorted(_covering([terms for _, _, terms in found]))]
    return [hit for _, hit, _ in chosen]


def _covering(terms: Sequence[set[Term]]) -> set[int]:
    """Which turns to show: for each term the first turn that has it, then the first of the others."""
    chosen: dict[int, None] = {}
    seen: set[Term] = set()
    for at, own in enumerate(terms):
        if own - seen:
            chosen[at] = None
            seen |= own
    return set([*chosen, *(at for at in range(len(terms)) if at not in chosen)][:MOST_HITS])


def _matches(term: Term, spoken: Sequence[Unit]) -> Iterator[tuple[int, int]]:
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


def _joined(marks: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The marks without overlaps."""
    start, end = marks[0]
    for other_start, other_end in marks[1:]:
        if other_start <= end:
            end = max(end, other_end)
        else:
            yield start, end
            start, end = other_start, other_end
    yield start, end
