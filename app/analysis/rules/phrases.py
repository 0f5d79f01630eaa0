"""Finds phrases by their words: the same words one after the other, in the form in which search compares them. Pure.

Scripts without spaces are compared character by character, so a phrase of Chinese is found inside a longer text.
Traditional and simplified characters are compared in one form.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from app.analysis.rules.call import Call, CallTurn, Part
from app.analysis.rules.definitions import without_star
from app.search.chinese import simplified
from app.search.words import units
from app.transcripts.dialogue import LONG_PAUSE_SECONDS

MOST_STEPS = 2_000_000  # some seconds


class TooMuchToCompare(Exception):
    """The definitions of a tenant need more steps than one call may take."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a phrase was said. `start` and `end` are those of the segments that have it."""

    turn: CallTurn
    start: float
    end: float


class SpokenWords:
    """The words of a call by their positions, alone and in pairs.

    A phrase may go on in the next turn of its speaker, because the other one may say "mm-hm" in between. So each
    channel has a row of words of its own. A pause of LONG_PAUSE_SECONDS ends the row.

    It counts steps, and raises TooMuchToCompare after MOST_STEPS of them. So what a tenant defines cannot keep others
    waiting, and the same call always gets the same answer.
    """

    def __init__(self, call: Call) -> None:
        self._words: list[str | None] = []
        self._places: list[tuple[CallTurn, Part] | None] = []
        self._positions: dict[str, list[int]] = defaultdict(list)
        self._pairs: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._steps = 0
        for channel in sorted({turn.channel for turn in call.turns}):
            self._read(turn for turn in call.turns if turn.channel == channel)

    def _read(self, turns: Iterable[CallTurn]) -> None:
        end: float | None = None
        for turn in turns:
            for part in turn.parts:
                if end is None or part.start - end > LONG_PAUSE_SECONDS:
                    self._words.append(None)
                    self._places.append(None)
                for unit in units(simplified(part.text)):
                    if (before := self._words[-1]) is not None:
                        self._pairs[before, unit.text].append(len(self._words) - 1)
                    self._positions[unit.text].append(len(self._words))
                    self._words.append(unit.text)
                    self._places.append((turn, part))
                end = part.end

    def find(self, phrase: str) -> Iterator[Found]:
        """Where the phrase was said, by anybody. Raises TooMuchToCompare."""
        sought, is_open = _sought(phrase)
        for first in self._beginnings(sought, is_open):
            self._count(1)
            last = first + len(sought) - 1
            if self._has(sought, first, is_open):
                begins, ends = self._places[first], self._places[last]
                assert begins is not None
                assert ends is not None
                yield Found(begins[0], begins[1].start, ends[1].end)

    def _beginnings(self, sought: Sequence[str], is_open: bool) -> Sequence[int]:
        """Where the phrase may begin, by its rarest pair of whole words, or by its only one."""
        whole = sought[:-1] if is_open else sought
        self._count(len(sought))
        if not whole:
            self._count(len(self._positions))
            beginnings = [at for word, at_all in self._positions.items() if word.startswith(sought[0]) for at in at_all]
            self._count(len(beginnings))
            return sorted(beginnings)
        if len(whole) == 1:
            return self._positions.get(whole[0], ())
        found, before = min(
            ((self._pairs.get(pair, ()), before) for before, pair in enumerate(pairwise(whole))),
            key=lambda each: len(each[0]),
        )
        return [at - before for at in found if at >= before]

    def _has(self, sought: Sequence[str], first: int, is_open: bool) -> bool:
        said = self._words[first : first + len(sought)]
        if len(said) < len(sought) or said[:-1] != list(sought[:-1]) or said[-1] is None:
            return False
        return said[-1].startswith(sought[-1]) if is_open else said[-1] == sought[-1]

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise TooMuchToCompare


@lru_cache(maxsize=20_000)
def _sought(phrase: str) -> tuple[Sequence[str], bool]:
    """The words of a phrase, and whether the last one may be the beginning of a longer one."""
    text, is_open = without_star(phrase)
    return [unit.text for unit in units(simplified(text))], is_open
