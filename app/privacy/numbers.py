"""Finds numbers in what was said, written with digits or spoken in words, and joins the parts of one number. Pure.

A part may be a digit, a number of two digits or a group, and people say "and", "dash" or "yes" between parts. A run is
the parts of what may be one number, wherever segments and turns end.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any

from text_to_num import find_numbers

from app.privacy.cues import begins_at, ends_before, texts
from app.privacy.lexicon import Lexicon
from app.privacy.spoken import Stream, Token

SPOKEN_BY_LIBRARY = frozenset({"en", "fr", "es", "pt", "de", "it", "nl", "da"})
# In numbers that are read out, 洞 is 0, 拐 is 7 and 勾 is 9. The last ones are those of banks.
_HAN, _VALUES = "〇零一二三四五六七八九幺两兩洞拐勾壹贰叁肆伍陆柒捌玖", "00123456789122079123456789"
HAN_DIGITS = dict(zip(_HAN, _VALUES, strict=True))
HAN_SCALES = frozenset("十百千万萬亿億")
# Japanese readings. Only those next to a digit count, because they are parts of many words.
KANA_DIGITS = {
    tuple(reading): digit
    for readings in (
        "ぜろ れい まる いち さん よん ろく なな はち きゅう",
        "ゼロ レイ マル イチ サン ヨン ロク ナナ ハチ キュウ",
    )
    for reading, digit in zip(readings.split(), "0001346789", strict=True)
}
PANICS = "pyo3_runtime"
LATIN = re.compile(r"[a-zß-öø-ÿœ]{1,100}")  # German writes a number as one word
MOST_FILLERS = 3
LONGEST_PAUSE_SECONDS = 15.0  # while the other side repeats a group or says "yes"
MOST_LETTERS = 6
MOST_SIGNS = 2
MOST_YEARS = 6
MOST_IN_DATE = 2  # tokens between a day and its year, such as the month
LEAST_LONG_DIGITS, MOST_LONG_DIGITS = 7, 30
MOST_AMOUNT_TOKENS = 9  # as in `1,234,567,890.50`
LEAST_READ_OUT = 4
SMALL_WORDS = frozenset("aeiouy")  # words of a language rather than spelled letters

ENDINGS = ".,;:?!。，、？！…'\")"
CURRENCIES = frozenset("$€£¥₹%")
_YEAR, _MONTH, _DAY = r"(19|20)\d\d", r"(0?[1-9]|1[0-2])", r"(0?[1-9]|[12]\d|3[01])"
DATE = re.compile(rf"{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}|({_DAY}[-/.]{_MONTH}|{_MONTH}[-/.]{_DAY})[-/.]{_YEAR}")
SHORT_DATE = re.compile(rf"({_DAY}[-/.]{_MONTH}|{_MONTH}[-/.]{_DAY})[-/.]\d\d")
AMOUNT = re.compile(r"\d{1,3}([.,]\d{3})*([.,]\d{1,3})?|\d+[.,]\d{1,2}")
YEAR = re.compile(_YEAR)
TIME = re.compile(r"\d{1,2}[:h]\d{2}(:\d{2})?")


@dataclass(frozen=True, slots=True)
class Number:
    """A part: tokens `first` to `last` (behind the last one), and its digits. `letters` counts spelled letters."""

    first: int
    last: int
    digits: str
    letters: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """Parts that may be one number, in the order in which they were said."""

    parts: tuple[Number, ...]

    @property
    def first(self) -> int:
        return self.parts[0].first

    @property
    def last(self) -> int:
        return self.parts[-1].last

    @property
    def digits(self) -> str:
        return "".join(part.digits for part in self.parts)

    @property
    def characters(self) -> int:
        """Digits and spelled letters."""
        return len(self.digits) + sum(part.letters for part in self.parts)

    @property
    def is_counting(self) -> bool:
        """Whether it counts: "one, two, three"."""
        counts = all(int(after) - int(before) == 1 for before, after in pairwise(self.digits))
        return counts and all(len(part.digits) == 1 for part in self.parts)

    @property
    def is_read_out(self) -> bool:
        """Whether it was said digit by digit, as nobody says an amount."""
        return len(self.digits) >= LEAST_READ_OUT and all(len(part.digits) == 1 for part in self.parts)

    @property
    def is_years(self) -> bool:
        """Whether it is several years: "between 2024 and 2025"."""
        return 1 < len(self.parts) <= MOST_YEARS and all(YEAR.fullmatch(part.digits) for part in self.parts)


def runs_of(stream: Stream) -> list[Run]:
    """All runs of a channel, in their order. Prices, shares, times of day and dates are in none."""
    kept = _without_quantities(stream, numbers_in(stream))
    runs: list[list[Number]] = []
    for number in _with_letters(stream, kept):
        if runs and _goes_on(stream, runs[-1][-1], number):
            runs[-1].append(number)
        else:
            runs.append([number])
    return [Run(tuple(parts)) for parts in runs if any(part.digits for part in parts)]


def _goes_on(stream: Stream, before: Number, after: Number) -> bool:
    """Whether two parts belong to one number: close in time, and nothing but fillers and signs between them."""
    if stream.tokens[after.first].start - stream.tokens[before.last - 1].end > LONGEST_PAUSE_SECONDS:
        return False
    lexicon = stream.lexicon(before.first)
    fillers, at = 0, before.last
    while at < after.first:
        if _joins(stream.tokens[at]):
            at += 1
        elif fillers < MOST_FILLERS and (length := begins_at(stream, at, lexicon.fillers)):
            fillers, at = fillers + 1, at + length
        else:
            return False
    return True


def _joins(token: Token) -> bool:
    """Whether the token is a sign that may stand between two parts of one number."""
    return token.text not in CURRENCIES and not any(map(str.isalnum, token.text))


def numbers_in(stream: Stream, *, with_ordinals: bool = False) -> list[Number]:
    """All numbers of a channel, also those of prices and dates."""
    found: list[Number] = []
    for language, group in groupby(range(len(stream.tokens)), key=lambda at: stream.tokens[at].language):
        found += _of_language(stream, list(group), language, with_ordinals)
    return _doubled(stream, _amounts(stream, sorted(found, key=lambda number: number.first)))


def _of_language(stream: Stream, at: Sequence[int], language: str, with_ordinals: bool) -> Iterator[Number]:
    lexicon = stream.lexicon(at[0])
    for position in at:
        text = stream.tokens[position].text
        if text[0].isdecimal():
            yield Number(position, position + 1, _as_ascii(text))
        elif text in lexicon.zeros:
            yield Number(position, position + 1, "0")
        elif text in lexicon.sixes:
            yield Number(position, position + 1, "6")
    if language in SPOKEN_BY_LIBRARY:
        yield from _spoken(stream, at, language, with_ordinals)
    elif not lexicon.has_spaces:
        yield from _han(stream, at)
        yield from _kana(stream, at)


class _Heard:
    """A word as the library of numbers wants it, or None for what is no word of Latin letters: it may panic at that."""

    def __init__(self, word: str | None) -> None:
        self._word = word

    def text(self) -> str:
        return self._word or ","

    def nt_separated(self, previous: "_Heard") -> bool:
        return False

    def not_a_number_part(self) -> bool:
        return self._word is None


def _heard(token: Token, language: str) -> _Heard:
    return _Heard(_known(token.written, token.text, language) if LATIN.fullmatch(token.written) else None)


@lru_cache(maxsize=20_000)
def _known(written: str, plain: str, language: str) -> str:
    """The form of a word that the library knows: "fünf" is a number and "funf" is none; models write both."""
    return plain if written == plain or not _find_numbers([_Heard(written)], language) else written


def _find_numbers(heard: Sequence[_Heard], language: str) -> Sequence[Any]:
    """What the library finds, or nothing if it fails. It is written in Rust, whose panics are no `Exception`."""
    try:
        return list(find_numbers(heard, language, 0))
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__module__ == PANICS:
            return ()
        raise


def _spoken(stream: Stream, at: Sequence[int], language: str, with_ordinals: bool) -> Iterator[Number]:
    # Hyphens are left out, because the library does not read "four-two-four".
    heard = [position for position in at if stream.tokens[position].text not in "-–"]
    for found in _find_numbers([_heard(stream.tokens[position], language) for position in heard], language):
        if with_ordinals or not found.is_ordinal:
            digits = "".join(filter(str.isdecimal, found.text))
            yield Number(heard[found.start], heard[found.end - 1] + 1, digits)


def _han(stream: Stream, at: Sequence[int]) -> Iterator[Number]:
    """Numbers in Chinese characters. What counts is how many digits there are, and not their value."""
    for is_number, group in groupby(
        at, key=lambda each: stream.tokens[each].text in HAN_DIGITS or stream.tokens[each].text in HAN_SCALES
    ):
        if is_number:
            own = list(group)
            digits = "".join(HAN_DIGITS.get(stream.tokens[each].text, "") for each in own)
            yield Number(own[0], own[-1] + 1, digits or "1")


def _kana(stream: Stream, at: Sequence[int]) -> Iterator[Number]:
    for position in at:
        for reading, digit in KANA_DIGITS.items():
            last = position + len(reading)
            if texts(stream, position, last) == reading and any(
                0 <= next_to < len(stream.tokens) and stream.tokens[next_to].text[0].isdecimal()
                for next_to in (position - 1, last)
            ):
                yield Number(position, last, digit)


def _as_ascii(text: str) -> str:
    return "".join(str(int(each)) for each in text if each.isdecimal())


def _amounts(stream: Stream, numbers: Sequence[Number]) -> list[Number]:
    """The numbers, with those that are written as one amount joined, such as `1,234.50`."""
    joined: list[Number] = []
    for number in numbers:
        before = joined[-1] if joined else None
        if (
            before
            and number.first == before.last + 1
            and number.last - before.first <= MOST_AMOUNT_TOKENS
            and all(stream.tokens[at].glued for at in (before.last, number.first))
        ):
            written = "".join(token.text for token in stream.tokens[before.first : number.last])
            if AMOUNT.fullmatch(written):
                joined[-1] = Number(before.first, number.last, before.digits + number.digits)
                continue
        joined.append(number)
    return joined


def _doubled(stream: Stream, numbers: Sequence[Number]) -> list[Number]:
    """The numbers with the words before them that repeat their first digit, such as "double"."""
    found = []
    for number in numbers:
        lexicon = stream.lexicon(number.first)
        for phrases, more in ((lexicon.doubles, 1), (lexicon.triples, 2)):
            if length := ends_before(stream, number.first, phrases):
                number = Number(number.first - length, number.last, number.digits[:1] * more + number.digits)
        found.append(number)
    return found


def _without_quantities(stream: Stream, numbers: Sequence[Number]) -> list[Number]:
    """The numbers that are no price, share, time, or date. Of a date, the numbers around the month go too."""
    gone: set[int] = set()
    for position, number in enumerate(numbers):
        lexicon = stream.lexicon(number.first)
        if _is_quantity(stream, number, lexicon) and not _ends_long_number(stream, numbers, position):
            gone.add(position)
        is_before = _is_month(stream, number.last, lexicon) or _is_month(stream, number.last + 1, lexicon)
        if is_before and _is_day(number):  # "3 May", "3 of May"
            gone |= {position} | _year_at(numbers, position + 1, stream)
        elif _is_month(stream, number.first - 1, lexicon):
            gone |= _day_and_year(numbers, position, stream)
    for first, last in _written_dates(stream):
        gone |= {position for position, number in enumerate(numbers) if first <= number.first < last}
    return [number for position, number in enumerate(numbers) if position not in gone]


def _is_quantity(stream: Stream, number: Number, lexicon: Lexicon) -> bool:
    """Whether a unit or a currency stands next to a number. One that is glued to other digits is their end."""
    if stream.tokens[number.first].glued and stream.tokens[number.first - 1].text[0].isdecimal():
        return False
    if begins_at(stream, number.last, lexicon.units):
        return True
    around = (number.first - 1, number.last)
    return any(0 <= at < len(stream.tokens) and stream.tokens[at].text in CURRENCIES for at in around)


def _is_month(stream: Stream, at: int, lexicon: Lexicon) -> bool:
    return 0 <= at < len(stream.tokens) and stream.tokens[at].text in lexicon.months


def _ends_long_number(stream: Stream, numbers: Sequence[Number], position: int) -> bool:
    """Whether a number is so long, or ends a row of numbers that is, that the word behind it is not its unit.

    What is written with separators of thousands, such as `1,234,567` and `1 234 567`, is an amount.
    """
    number = numbers[position]
    if number.last - number.first > 1:
        return False
    digits, first = number.digits, position
    while first and _only_signs(stream, numbers[first - 1].last, numbers[first].first):
        first -= 1
        digits = numbers[first].digits + digits
        if len(digits) > MOST_LONG_DIGITS:
            break
    row = numbers[first : position + 1]
    is_amount = len(row) > 1 and len(row[0].digits) <= 3 and all(len(each.digits) == 3 for each in row[1:])
    return len(digits) >= LEAST_LONG_DIGITS and not is_amount


def _is_day(number: Number) -> bool:
    return len(number.digits) <= 2 and 1 <= int(number.digits) <= 31


def _day_and_year(numbers: Sequence[Number], position: int, stream: Stream) -> set[int]:
    """Which of the numbers behind a month are its day and its year."""
    if _is_day(numbers[position]):
        return {position} | _year_at(numbers, position + 1, stream)
    return _year_at(numbers, position, stream)


def _year_at(numbers: Sequence[Number], position: int, stream: Stream) -> set[int]:
    """The numbers that are a year: four digits in one or in two numbers, or two digits behind a day."""
    if position >= len(numbers):
        return set()
    one, other = numbers[position], numbers[position + 1] if position + 1 < len(numbers) else None
    if (
        position
        and one.first - numbers[position - 1].last > MOST_IN_DATE
        and not _is_month(stream, one.first - 1, stream.lexicon(one.first))
    ):
        return set()
    if YEAR.fullmatch(one.digits):
        return {position}
    if other and other.first == one.last and YEAR.fullmatch(one.digits + other.digits) and len(one.digits) == 2:
        return {position, position + 1}
    return set()


def _written_dates(stream: Stream) -> list[tuple[int, int]]:
    """Where dates and times are written with digits only, such as 2026-11-28 and 14:30.

    Next to other digits, what looks like a short date, such as 4-4-44, is more likely a part of a number.
    """
    found, short = [], []
    at = 0
    while at < len(stream.tokens):
        last = at + 1
        while last < len(stream.tokens) and stream.tokens[last].glued:
            last += 1
        written = "".join(token.text for token in stream.tokens[at:last]).rstrip(ENDINGS)
        if SHORT_DATE.fullmatch(written):
            short.append((at, last))
        elif DATE.fullmatch(written) or TIME.fullmatch(written):
            found.append((at, last))
        at = last
    taken = {each for first, last in found for each in range(first, last)}
    return found + [
        (first, last)
        for first, last in short
        if not _is_digits(stream, _before_signs(stream, first - 1), taken)
        and not _is_digits(stream, _behind_signs(stream, last), taken)
    ]


def _is_digits(stream: Stream, at: int, dates: set[int]) -> bool:
    return at not in dates and 0 <= at < len(stream.tokens) and stream.tokens[at].text[0].isdecimal()


def _before_signs(stream: Stream, at: int) -> int:
    while at >= 0 and _joins(stream.tokens[at]):
        at -= 1
    return at


def _behind_signs(stream: Stream, at: int) -> int:
    while at < len(stream.tokens) and _joins(stream.tokens[at]):
        at += 1
    return at


def _with_letters(stream: Stream, numbers: Sequence[Number]) -> list[Number]:
    """The numbers, and the letters next to them: "G B 29", "K 472", "NWBK6016"."""
    taken = {at for number in numbers for at in range(number.first, number.last)}
    letters = [
        Number(at, at + 1, "", len(token.text))
        for at, token in enumerate(stream.tokens)
        if at not in taken
        and (token.is_letter or token.is_abbreviation)
        and not _is_elided(stream, at)
        and token.text not in stream.lexicon(at).cue_words  # "the PIN 1234"
    ]
    return sorted([*numbers, *_next_to(stream, numbers, letters)], key=lambda number: number.first)


def _is_elided(stream: Stream, at: int) -> bool:
    """Whether an apostrophe stands next to a letter, as in `d'accord` and `it's`."""
    tokens = stream.tokens
    follows = at + 1 < len(tokens) and tokens[at + 1].text in "'’" and tokens[at + 1].glued
    return follows or (at > 0 and tokens[at - 1].text in "'’" and tokens[at].glued)


def _next_to(stream: Stream, numbers: Sequence[Number], letters: Sequence[Number]) -> list[Number]:
    found: list[Number] = []
    edges = {number.first for number in numbers} | {number.last for number in numbers}
    groups: list[list[Number]] = []
    for letter in letters:
        if groups and _only_signs(stream, groups[-1][-1].last, letter.first):
            groups[-1].append(letter)
        else:
            groups.append([letter])
    for group in groups:
        first, last = group[0].first, group[-1].last
        is_small = len(group) == 1 and stream.tokens[first].text in SMALL_WORDS
        if is_small and not _is_written_next_to(stream, first):
            continue
        if sum(each.letters for each in group) <= MOST_LETTERS and any(
            (last + signs in edges and _only_signs(stream, last, last + signs))
            or (first - signs in edges and _only_signs(stream, first - signs, first))
            for signs in range(MOST_SIGNS + 1)
        ):
            found += group
    return found


def _is_written_next_to(stream: Stream, at: int) -> bool:
    """Whether a token has no space before or after it."""
    return stream.tokens[at].glued or (at + 1 < len(stream.tokens) and stream.tokens[at + 1].glued)


def _only_signs(stream: Stream, first: int, last: int) -> bool:
    return all(_joins(stream.tokens[at]) for at in range(first, last))
