"""Computes error rates against reference texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import jiwer
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from proofs.bench.calls import Call, Piece

BY_CHARACTER = frozenset({"zh", "ja", "hi"})

Heard = dict[str, list[Piece]]
"""What a contender recognized, by the names of the files."""


@dataclass(frozen=True)
class Errors:
    """The words of a call that are wrong, missing or too many, and the words of its reference."""

    errors: int
    words: int


@cache
def normalizer(language: str | None) -> Callable[[str], str]:
    """Returns Whisper's own normalizer. It ignores accents, because some of the references lack them.

    Chinese, Japanese and Hindi are counted by character, because spaces do not separate their words.
    """
    if language == "en":
        english: Callable[[str], str] = EnglishTextNormalizer()
        return english
    other: Callable[[str], str] = BasicTextNormalizer(remove_diacritics=True, split_letters=language in BY_CHARACTER)
    return other


def errors(call: Call, heard: Heard) -> Errors:
    """Counts the errors in a call. It has no words if it has no reference."""
    pairs = [pair for pair in _pairs(call, heard[call.path.name]) if pair[0]]
    counted = [jiwer.process_words(reference, said) for reference, said in pairs]
    wrong = sum(each.substitutions + each.deletions + each.insertions for each in counted)
    return Errors(wrong, sum(len(reference.split()) for reference, _ in pairs))


def error_rate(calls: Sequence[Call], heard: Heard) -> float | None:
    """Returns the words that are wrong, missing or too many, divided by the words of all calls.

    None without references.
    """
    counted = [errors(call, heard) for call in calls]
    words = sum(each.words for each in counted)
    return sum(each.errors for each in counted) / words if words else None


def words(heard: Heard) -> int:
    """Returns the number of words in all recordings."""
    return sum(len(piece.text.split()) for pieces in heard.values() for piece in pieces)


def _pairs(call: Call, pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """Returns normalized pairs of reference and transcript.

    There is one pair per channel, or one for the call if it has a single text.
    """
    clean = normalizer(call.language)
    per_channel = len(call.texts) == call.channels
    ordered = sorted(pieces, key=lambda piece: piece.start)
    return [
        (clean(text), clean(" ".join(piece.text for piece in ordered if not per_channel or piece.channel == channel)))
        for channel, text in enumerate(call.texts)
    ]
