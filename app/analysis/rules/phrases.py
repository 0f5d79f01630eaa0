"""Finds phrases by their words: the same words one after the other, in the form in which search compares them. Pure.

Scripts without spaces are compared character by character, so a phrase of Chinese is found inside a longer text.
Traditional and simplified characters are compared in one form.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.analysis.rules.call import Call, CallTurn, Part
from app.analysis.rules.definitions import without_star
from app.search.chinese import simplified
from app.search.words import units
from app.transcripts.dialogue import LONG_PAUSE_SECONDS


@dataclass(frozen=True, slots=True)
class Found:
    """Where a phrase was said. `start` and `end` are those of the segments that have it."""

    turn: CallTurn
    start: float
    end: float


class SpokenWords:
    """The words of a call by their positions.

    A phrase may go on in the next turn of its speaker, because the other one may say "mm-hm" in between. So each
    channel has a row of words of its own. A pause of LONG_PAUSE_SECONDS ends the row.
    """

    def __init__(self, call: Call) -> None:
        self._words: list[str | None] = []
        self._places: list[tuple[CallTurn, Part] | None] = []
        self._positions: dict[str, list[int]] = defaultdict(list)
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
                    self._positions[unit.text].append(len(self._words))
                    self._words.append(unit.text)
                    self._places.append((turn, part))
                end = part.end

    def find(self, phrase: str) -> Iterator[Found]:
        """Where the phrase was said, by anybody."""
        text, is_open = without_star(phrase)
        sought = [unit.text for unit in units(simplified(text))]
        for first in self._beginnings(sought, is_open):
            last = first + len(sought) - 1
            if self._has(sought, first, is_open):
                begins, ends = self._places[first], self._places[last]
                assert begins is not None
                assert ends is not None
                yield Found(begins[0], begins[1].start, ends[1].end)

    def _beginnings(self, sought: Sequence[str], is_open: bool) -> Sequence[int]:
        """Where the phrase may begin, by its rarest whole word."""
        whole = sought[:-1] if is_open else sought
        if not whole:
            return sorted(at for word, found in self._positions.items() if word.startswith(sought[0]) for at in found)
        found, before = min(
            ((self._positions.get(word, ()), before) for before, word in enumerate(whole)),
            key=lambda each: len(each[0]),
        )
        return [at - before for at in found if at >= before]

    def _has(self, sought: Sequence[str], first: int, is_open: bool) -> bool:
        said = self._words[first : first + len(sought)]
        if len(said) < len(sought) or said[:-1] != list(sought[:-1]) or said[-1] is None:
            return False
        return said[-1].startswith(sought[-1]) if is_open else said[-1] == sought[-1]
