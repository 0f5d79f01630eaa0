"""Decides whether a text can be what was said in a window; pure.

A model that hears noise, or that loses its thread, writes the same words again and again, or repeats its prompt. The
threshold of the compression ratio is that of OpenAI's Whisper (`transcribe.py`).
"""

import re
import zlib
from collections.abc import Sequence

from app.transcripts.transcript import TranscriptWarning, WarningCode

SHORT_SECONDS = 2.0  # a window this short may be a cough or a click without a word, or a single word
DROPPED = TranscriptWarning(WarningCode.WINDOW_DROPPED, "Nothing that could be believed was heard here")
REPEATED = TranscriptWarning(
    WarningCode.WINDOW_REDECODED, "Hard to understand: the first result was not plausible, so the model tried again"
)

MAX_COMPRESSION_RATIO = 2.4

# The longest period of a repetition in words, and how often it may follow itself: "no, no, no, no" is speech.
MAX_PERIOD = 20
MAX_REPEATS = {1: 8, 2: 6, 3: 5}
MAX_REPEATS_OF_LONGER = 3
MIN_ECHO_WORDS = 4


def is_plausible(text: str, seconds: float, bias: str = "") -> bool:
    """Whether a person can have said the text in `seconds` of speech.

    `bias` is the prompt and the hotwords that the model got. A text that only repeats them was not heard.
    """
    return not (
        len(text) > most_characters(seconds)  # first, because the others take long for a long text
        or _repetitiveness(text) > MAX_COMPRESSION_RATIO
        or repeats(text)
        or echoes(text, bias)
    )


def most_characters(seconds: float) -> int:
    """More characters than a person speaks in `seconds`. Only a loop writes more."""
    return 48 + round(36 * seconds)


def repeats(text: str) -> bool:
    """Whether a sequence of words (of characters, in a language without spaces) follows itself too often."""
    words = _words(text)
    units: Sequence[str] = words if len(words) > 1 else text
    return any(
        _longest_repetition(units, period) > MAX_REPEATS.get(period, MAX_REPEATS_OF_LONGER)
        for period in range(1, min(MAX_PERIOD, len(units) // 2) + 1)
    )


def echoes(text: str, bias: str) -> bool:
    """Whether the whole text is in the prompt, in the same order."""
    words = _words(text)
    return len(words) >= MIN_ECHO_WORDS and f" {' '.join(words)} " in f" {' '.join(_words(bias))} "


def _repetitiveness(text: str) -> float:
    """The compression ratio by characters.

    In UTF-8, all characters of a script such as Devanagari begin with the same bytes, which would look like a loop.
    """
    return ratio(text.encode("utf-16-le", "surrogatepass")[::2])


def ratio(raw: bytes) -> float:
    """Bytes divided by their zlib length; high if they repeat themselves."""
    return len(raw) / len(zlib.compress(raw))


def _longest_repetition(units: Sequence[str], period: int) -> int:
    longest = run = 0
    for before, after in zip(units, units[period:], strict=False):
        run = run + 1 if before == after else 0
        longest = max(longest, run)
    return longest // period + 1


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
