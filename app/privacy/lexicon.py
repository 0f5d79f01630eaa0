"""What people say around private numbers, by language: one file a language in `words/`. Pure, after the first read."""

import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from app.transcripts.entities import Entity

FOLDER = Path(__file__).parent / "words"
WITHOUT_SPACES = frozenset({"zh", "ja", "yue"})
FALLBACK = "en"
SAME_WORDS = {"yue": "zh"}
SINGLE_WORDS = ("zeros", "sixes", "months", "stops", "in_dates")
PHRASES = ("fillers", "doubles", "triples", "units", "at", "dot", "underscore", "hyphen", "weak_names")

Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    """The words of a language, in the form of `plain`. A phrase is its words, or its characters without spaces.

    `fillers` may stand between two parts of one number. A number before one of `units` is a price, a time or a share.
    `at`, `dot`, `underscore` and `hyphen` are how an e-mail address is said,
    and `stops` are small words that do not belong to one. `weak_names` announce a name now and then, and `in_dates`
    are small words inside a date. `cues` announce what comes next.
    """

    language: str
    fillers: frozenset[Phrase]
    zeros: frozenset[str]
    sixes: frozenset[str]
    doubles: frozenset[Phrase]
    triples: frozenset[Phrase]
    units: frozenset[Phrase]
    months: frozenset[str]
    at: frozenset[Phrase]
    dot: frozenset[Phrase]
    underscore: frozenset[Phrase]
    hyphen: frozenset[Phrase]
    stops: frozenset[str]
    weak_names: frozenset[Phrase]
    in_dates: frozenset[str]
    cues: Mapping[Entity, Sequence[Phrase]]

    @cached_property
    def cue_words(self) -> frozenset[str]:
        """The single words among the cues."""
        return frozenset(phrase[0] for phrases in self.cues.values() for phrase in phrases if len(phrase) == 1)

    @property
    def has_spaces(self) -> bool:
        return self.language not in WITHOUT_SPACES


@cache
def languages() -> frozenset[str]:
    """The languages whose spoken numbers are found. In others, only written ones are."""
    return frozenset(path.stem for path in FOLDER.glob("*.toml"))


@cache
def lexicon_of(language: str) -> Lexicon:
    """The words of a language, or of English if there are none for it."""
    known = SAME_WORDS.get(language, language if language in languages() else FALLBACK)
    values = tomllib.loads((FOLDER / f"{known}.toml").read_text(encoding="utf-8"))
    cues = {Entity(name): [split(each) for each in phrases] for name, phrases in values.pop("cues").items()}
    single: dict[str, Any] = {name: frozenset(map(plain, values.pop(name, ()))) for name in SINGLE_WORDS}
    phrases: dict[str, Any] = {name: frozenset(map(split, values.get(name, ()))) for name in PHRASES}
    return Lexicon(known, cues=cues, **single, **phrases)


def split(phrase: str) -> Phrase:
    """The tokens of a phrase, as `tokens` would find them in a text."""
    return tuple(text for _, _, text in pieces(phrase))


def pieces(text: str) -> list[tuple[int, int, str]]:
    """The words, numbers, signs and single characters of Chinese and Japanese in a text.

    Each comes with where it begins, where it ends, and its text in the form of `plain`.
    """
    found: list[tuple[int, int, str]] = []
    at = 0
    while at < len(text):
        end = at + 1
        if (kind := _kind(text[at])) in ("letter", "digit"):
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if kind != "space" and (own := plain(text[at:end])):
            found.append((at, end, own))
        at = end
    return found


def _kind(character: str) -> str:
    if character.isspace():
        return "space"
    if character.isdecimal():
        return "digit"
    if "\u2e80" <= character <= "\ua4cf" or "\uf900" <= character <= "\ufaff" or character >= "\U00020000":
        return "single"
    category = unicodedata.category(character)
    return "letter" if category[0] in "LM" else "sign"


def plain(text: str) -> str:
    """Small letters without accents, so that it does not matter how carefully a model writes."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFKC", "".join(each for each in folded if not "\u0300" <= each <= "\u036f"))
