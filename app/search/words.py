"""Splits texts into the units that search compares: words, and single characters of scripts without spaces. Pure.

What was said and what is searched for go through the same function, so that both are compared in one form: without
case, accents, vowel signs of Arabic and Hebrew, and differences of width.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

LONGEST_WORD = 64  # characters of a word that count, so that nothing is longer than PostgreSQL takes

# Scripts that are written without spaces, and Korean, whose words carry endings. Python's `\s` may stand between.
_UNSPACED = frozenset(
    code
    for first, last in (
        (0x0E00, 0x0EFF),  # Thai, Lao
        (0x1000, 0x109F),  # Burmese
        (0x1100, 0x11FF),  # Korean letters
        (0x1780, 0x17FF),  # Khmer
        (0x1950, 0x19DF),  # Tai Le, New Tai Lue
        (0x3005, 0x3007),
        (0x3040, 0x31FF),  # Japanese syllables, Bopomofo, Korean letters
        (0x3400, 0x9FFF),  # Chinese characters
        (0xA960, 0xA97F),
        (0xA9E0, 0xA9FF),
        (0xAA60, 0xAA7F),
        (0xAC00, 0xD7FF),  # Korean syllables
        (0xF900, 0xFAFF),
        (0xFF66, 0xFFDC),  # narrow forms of Japanese and Korean letters
        (0x20000, 0x323AF),
    )
    for code in range(first, last + 1)
)
_LAST = max(_UNSPACED)
_WORD_CATEGORIES = "LMN"
_INNER = "\u00ad\u200c\u200d"  # a soft hyphen and joiners, which stand inside words and count as nothing

# Letters that Unicode does not take apart, and those that writers of Arabic and Persian use for one another.
_ALIKE = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "ı": "i",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "\u0649": "\u064a",
        "\u06cc": "\u064a",
        "\u0629": "\u0647",
        "\u06a9": "\u0643",
    }
    | dict.fromkeys(f"\u0640{_INNER}")  # tatweel stretches a word
)
_SHORT_I = "\u0438\u0306"  # й is a letter of its own


class Unit(NamedTuple):
    """A word, or a character of a script without spaces, and where it stands in the text.

    `run` numbers the stretches of such characters. It is None for a word.
    """

    text: str
    start: int
    end: int
    run: int | None


def units(text: str) -> list[Unit]:
    """The units of a text, in their order. Punctuation and symbols are left out."""
    return list(_units(text))


def _units(text: str) -> Iterator[Unit]:
    for number, found in enumerate(_tokens().finditer(text)):
        start, end = found.span()
        if found[1] is not None:
            if word := same_form(found[1]):
                yield Unit(word[:LONGEST_WORD], start, end, None)
            continue
        for character in _characters().finditer(found[0]):
            for unit in _parts(character[0]):
                yield Unit(unit, start + character.start(), start + character.end(), number)


@lru_cache(maxsize=20_000)
def same_form(word: str) -> str:
    """The form in which a word is compared."""
    if word.isascii():
        return word.lower()
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", word).casefold())
    kept = "".join(letter for before, letter in pairwise(f" {letters}") if not _is_accent(before, letter))
    plain = unicodedata.normalize("NFC", kept.translate(_ALIKE))
    return "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in plain)


def _is_accent(before: str, letter: str) -> bool:
    """Whether a mark changes how a letter is said and not which letter it is, as the vowel signs of Hindi do."""
    kind = unicodedata.combining(letter)
    return (10 <= kind <= 36 or kind >= 200) and before + letter != _SHORT_I


@lru_cache(maxsize=20_000)
def _parts(character: str) -> str:
    """The units of a character with its marks, in the usual width of Japanese and Latin letters."""
    return unicodedata.normalize("NFKC", character.casefold())


@cache
def _tokens() -> re.Pattern[str]:
    unspaced = f"[{_class(unspaced=True)}]"
    spaced = _class(unspaced=False)
    return re.compile(f"([{spaced}][{spaced}{_INNER}]*)|{unspaced}(?:\\s*{unspaced})*")


@cache
def _characters() -> re.Pattern[str]:
    return re.compile("[^\\s\uff9e\uff9f\u3099\u309a][\uff9e\uff9f\u3099\u309a]?|\\S")


def _class(*, unspaced: bool) -> str:
    """The characters of words, as the inside of a class of a regular expression."""
    chosen = sorted(_codes_of_words() & _UNSPACED if unspaced else _codes_of_words() - _UNSPACED)
    edges = [0, *(at for at in range(1, len(chosen)) if chosen[at] != chosen[at - 1] + 1), len(chosen)]
    return "".join(f"{chr(chosen[first])}-{chr(chosen[last - 1])}" for first, last in pairwise(edges))


@cache
def _codes_of_words() -> frozenset[int]:
    category = unicodedata.category
    return frozenset(code for code in range(_LAST + 1) if category(chr(code))[0] in _WORD_CATEGORIES)
