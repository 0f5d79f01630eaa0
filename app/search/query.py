"""What somebody searches for: words that a call must have, and phrases. Pure.

A query is words, which may stand anywhere in the call, and phrases in quotes, whose words stand one after the other in
one turn. A word outside quotes also stands for longer words that begin with it, because people say "refunds" too. A
word of a script without spaces is a phrase of its characters.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.search.lexemes import ALL_PAIRS, OVERLAP, pair_lexeme, quoted
from app.search.words import Unit, units

LONGEST_QUERY = 200
MOST_TERMS = 10
MOST_UNITS = OVERLAP  # of a term, so that a phrase is whole in one part of a long call
SHORTEST_BEGINNING = 4  # letters, because very many words begin with the same three

_QUOTES = '"“”„‟«»「」『』'
_TERM = re.compile(rf"[{_QUOTES}]([^{_QUOTES}]*)(?:[{_QUOTES}]|$)|([^\s{_QUOTES}]+)")


@dataclass(frozen=True)
class Term:
    """A word or a phrase. If `is_open`, its last word may be the beginning of a longer one."""

    units: tuple[Unit, ...]
    is_open: bool = False

    @property
    def lexemes(self) -> tuple[tuple[str, int], ...]:
        """Each lexeme that the text must have, with its distance from the first unit."""
        return tuple(_lexemes(self.units))

    @property
    def pairs(self) -> tuple[str, ...]:
        """The lexemes of two neighbours, by which PostgreSQL finds the few calls that may have the phrase."""
        return tuple(
            pair_lexeme(left.text, right.text)
            for left, right in pairwise(self.units)
            if left.run is None or left.run != right.run
            if not (self.is_open and right is self.units[-1])
        )

    @property
    def words(self) -> tuple[str, ...]:
        """Each lexeme as it stands in a `tsquery`."""
        words = [quoted(lexeme) for lexeme, _ in self.lexemes]
        return (*words[:-1], words[-1] + (":*" if self.is_open else ""))

    @property
    def phrase(self) -> str:
        """A `tsquery` for the words one after the other."""
        phrase, at = self.words[0], 0
        for word, (_, position) in zip(self.words[1:], self.lexemes[1:], strict=True):
            phrase, at = f"{phrase} <{position - at}> {word}", position
        return phrase


@dataclass(frozen=True)
class Query:
    terms: tuple[Term, ...]

    @property
    def candidates(self) -> str:
        """A `tsquery` for the calls that have all words, and all neighbours of the phrases."""
        pairs = {pair for term in self.terms for pair in term.pairs}
        words = " & ".join(sorted({word for term in self.terms for word in term.words}))
        neighbours = " & ".join(map(quoted, sorted(pairs)))
        return f"{words} & ({neighbours} | {quoted(ALL_PAIRS)})" if pairs else words

    @property
    def phrases(self) -> Sequence[str]:
        """A `tsquery` for each phrase."""
        return [term.phrase for term in self.terms if len(term.lexemes) > 1]


def parse(text: str) -> Query:
    """The query that somebody typed. Raises ValueError if it is too long, or has nothing to search for."""
    if len(text) > LONGEST_QUERY:
        raise ValueError(f"may have at most {LONGEST_QUERY} characters")
    found = (_quoted(match[1]) if match[2] is None else _unquoted(match[2]) for match in _TERM.finditer(text))
    terms = tuple(dict.fromkeys(term for term in found if term.units))
    if not terms:
        raise ValueError("must have a letter or a digit")
    if len(terms) > MOST_TERMS:
        raise ValueError(f"may have at most {MOST_TERMS} words and phrases")
    if any(len(term.units) > MOST_UNITS for term in terms):
        raise ValueError(f"may have at most {MOST_UNITS} words or characters in a phrase")
    return Query(terms)


def _quoted(text: str) -> Term:
    return Term(tuple(units(text)))


def _unquoted(text: str) -> Term:
    found = tuple(units(text))
    return Term(found, bool(found) and _is_beginning(found[-1]))


def _is_beginning(unit: Unit) -> bool:
    """A number stands for itself, because nobody looks for half a number."""
    return unit.run is None and len(unit.text) >= SHORTEST_BEGINNING and not any(map(str.isdecimal, unit.text))


def _lexemes(all_units: Sequence[Unit]) -> Iterator[tuple[str, int]]:
    """Words, and pairs of characters. A character that has no neighbour stands alone."""
    runs = [None, *(unit.run for unit in all_units), None]
    for at, unit in enumerate(all_units):
        before, own, after = runs[at : at + 3]
        if own is not None and own == after:
            yield unit.text + all_units[at + 1].text, at
        elif own is None or own != before:
            yield unit.text, at
