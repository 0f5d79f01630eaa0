"""What is private in a call: tokens of a channel. Pure."""

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

    def overlaps(self, other: "Mark") -> bool:
        return self.channel == other.channel and self.first < other.last and other.first < self.last


def without_overlaps(marks: Iterable[Mark]) -> list[Mark]:
    """The marks in their order. Of marks that overlap, the one that was found first gets the tokens of the others."""
    kept: list[Mark] = []
    for mark in marks:
        touching = [each for each in kept if each.overlaps(mark)]
        if touching:
            kept = [each for each in kept if each not in touching]
            first, last = min(each.first for each in (mark, *touching)), max(each.last for each in (mark, *touching))
            mark = Mark(mark.channel, first, last, touching[0].entity)
        kept.append(mark)
    return sorted(kept, key=lambda mark: (mark.channel, mark.first))
