"""Finds the names that the client sent, also if the model wrote them a little differently. Pure."""

from collections.abc import Iterator, Sequence

from rapidfuzz import fuzz

from app.privacy.lexicon import split
from app.privacy.marks import Mark
from app.privacy.spoken import Stream
from app.transcripts.entities import Entity

LEAST_LIKENESS = 82.0
LEAST_CHARACTERS = 4  # a shorter term must be written as it was sent


def terms_in(stream: Stream, terms: Sequence[str]) -> Iterator[Mark]:
    for term in terms:
        sought = split(term)
        if not sought:
            continue
        whole = "".join(sought)
        taken: set[int] = set()
        for length in dict.fromkeys((len(sought), max(1, len(sought) - 1), len(sought) + 1)):
            for first in range(len(stream.tokens) - length + 1):
                if not taken.isdisjoint(range(first, first + length)):
                    continue
                tokens = stream.tokens[first : first + length]
                said = "".join(token.text for token in tokens)
                if said == whole or (
                    len(whole) >= LEAST_CHARACTERS
                    and len(said) >= LEAST_CHARACTERS
                    and fuzz.ratio(said, whole) >= LEAST_LIKENESS
                ):
                    taken.update(range(first, first + length))
                    yield Mark(stream.channel, first, first + length, Entity.NAME)
