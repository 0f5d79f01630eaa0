"""Finds the names that the client sent, also if the model wrote them a little differently. Pure."""

from collections.abc import Iterator, Sequence

from rapidfuzz import fuzz, process

from app.privacy.lexicon import split
from app.privacy.marks import Mark
from app.privacy.spoken import Stream
from app.transcripts.entities import Entity

LEAST_LIKENESS = 82.0
LEAST_CHARACTERS = 4  # a shorter term must be written as it was sent
SHORTEST = 2  # characters; a single letter would be found everywhere


def terms_in(stream: Stream, terms: Sequence[str]) -> Iterator[Mark]:
    """The tokens of each term. A model may write a name in one word more or less than it has."""
    windows: dict[int, list[str]] = {}
    for term in terms:
        sought = [text for text in split(term) if text.isalnum()]
        whole = "".join(sought)
        if len(whole) < SHORTEST:
            continue
        least = LEAST_LIKENESS if len(whole) >= LEAST_CHARACTERS else 100.0
        found: list[tuple[float, int, int]] = []
        for length in dict.fromkeys((len(sought), max(1, len(sought) - 1), len(sought) + 1)):
            said = windows.setdefault(length, _windows(stream, length))
            alike = process.extract_iter(whole, said, scorer=fuzz.ratio, score_cutoff=least)
            found += ((-likeness, first, first + length) for _, likeness, first in alike)
        yield from _likeliest(stream.channel, found)


def _likeliest(channel: int, found: Sequence[tuple[float, int, int]]) -> Iterator[Mark]:
    """The marks of a term without those that overlap a likelier one, which would take a word beside the name."""
    taken: set[int] = set()
    for _, first, last in sorted(found):
        if taken.isdisjoint(range(first, last)):
            taken.update(range(first, last))
            yield Mark(channel, first, last, Entity.NAME)


def _windows(stream: Stream, length: int) -> list[str]:
    """What each token and those behind it are together. None begins or ends with a sign, but one may be inside."""
    texts = [token.text if token.text.isalnum() else "" for token in stream.tokens]
    return [
        "".join(texts[at : at + length]) if texts[at] and texts[at + length - 1] else ""
        for at in range(len(texts) - length + 1)
    ]
