"""What is private in a call: tokens of a channel. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from app.transcripts.entities import Entity


@dataclass(frozen=True, slots=True)
class Mark:
    """Tokens `first` to `last` (behind the last one) of a channel are private."""

    channel: int
    first: int
    last: int
    entity: Entity


def without_overlaps(marks: Iterable[Mark]) -> list[Mark]:
    """The marks of one channel in their order. Of marks that overlap, the first one gets the tokens of the others."""
    kept: list[Mark] = []  # they do not overlap, so both their ends are in order
    for mark in marks:
        since = bisect_right(kept, mark.first, key=lambda each: each.last)
        until = bisect_left(kept, mark.last, key=lambda each: each.first)
        touching = kept[since:until]
        if touching:
            first, last = min(touching[0].first, mark.first), max(touching[-1].last, mark.last)
            mark = Mark(mark.channel, first, last, touching[0].entity)
        kept[since:until] = [mark]
    return kept
