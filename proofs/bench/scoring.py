"""Computes error rates against reference texts."""

from collections.abc import Callable, Sequence
from functools import cache

import jiwer
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from proofs.bench.calls import Call, Piece

BY_CHARACTER = frozenset({"zh", "ja", "hi"})


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


def error_rate(calls: Sequence[Call], heard: dict[str, list[Piece]]) -> float | None:
    """Returns the words that are wrong, missing or too many, divided by the words of all calls.

    None without references.
    """
    pairs = [pair for call in calls for pair in _pairs(call, heard[call.path.name]) if pair[0]]
    if not pairs:
        return None
    return float(jiwer.wer([reference for reference, _ in pairs], [said for _, said in pairs]))


def words(heard: dict[str, list[Piece]]) -> int:
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
