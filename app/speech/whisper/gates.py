"""Whether to believe what the model wrote for a window, and how to decode it again if not; pure.

The thresholds are those of OpenAI's Whisper (`transcribe.py`), with gates of our own for the loops and the
echoes that short windows let through.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from math import exp, isfinite

MAX_COMPRESSION_RATIO = 2.4
MIN_AVG_LOGPROB = -1.0
MAX_NO_SPEECH_PROB = 0.6
SHORT_SECONDS = 2.0  # a cough or a click, which may well hold no word
FULL_CONTEXT_SECONDS = 30
TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)

# Longest period of a repetition in words, and how often it may come in a row: "no, no, no, no" is speech.
MAX_PERIOD = 20
MAX_REPEATS = {1: 8, 2: 6, 3: 5}
MAX_REPEATS_OF_LONGER = 3
MIN_ECHO_WORDS = 4


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the model wrote for one window, as Whisper measures it."""

    text: str
    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech_prob: float
    temperature: float

    @property
    def compression_ratio(self) -> float:
        """UTF-8 bytes by their zlib length: high when the text repeats itself."""
        return _ratio(self.text.encode())

    @property
    def probability(self) -> float:
        """Of a token of the text, on average."""
        return exp(self.avg_logprob)


@dataclass(frozen=True, slots=True)
class Try:
    """One way to decode a window. `prompted` tells whether the client's prompt and hotwords go along."""

    context_seconds: int
    temperature: float
    prompted: bool


class Verdict(Enum):
    ACCEPTED = auto()
    SILENT = auto()
    DOUBTFUL = auto()
    BROKEN = auto()


def tries(context_seconds: int, prompted: bool) -> tuple[Try, ...]:
    """How to decode a window, first to last: each next one when the one before failed."""
    first = Try(context_seconds, 0.0, prompted)
    calm = Try(FULL_CONTEXT_SECONDS, 0.0, prompted=False)
    sampled = tuple(Try(FULL_CONTEXT_SECONDS, temperature, prompted=False) for temperature in TEMPERATURES)
    return (first, *sampled) if first == calm else (first, calm, *sampled)


def most_characters(seconds: float) -> int:
    """More than anybody speaks in `seconds`: only a loop writes more.

    Of characters, not tokens: Whisper writes a letter of Hindi or Georgian with one to three of these.
    """
    return 48 + round(36 * seconds)


def judge(hypothesis: Hypothesis, seconds: float, bias: str = "") -> Verdict:
    """Judges one window of `seconds` of speech. `bias` is the prompt and hotwords it was hypothesis with."""
    if not isfinite(hypothesis.avg_logprob):  # float16 overflows
        return Verdict.BROKEN
    doubtful = hypothesis.avg_logprob < MIN_AVG_LOGPROB
    unheard = hypothesis.no_speech_prob > MAX_NO_SPEECH_PROB
    if not hypothesis.text:
        return Verdict.SILENT if unheard or seconds <= SHORT_SECONDS else Verdict.BROKEN
    if unheard and doubtful:
        return Verdict.SILENT
    if (
        _repetitiveness(hypothesis.text) > MAX_COMPRESSION_RATIO
        or len(hypothesis.text) > most_characters(seconds)
        or repeats(hypothesis.text)
        or echoes(hypothesis.text, bias)
    ):
        return Verdict.BROKEN
    return Verdict.DOUBTFUL if doubtful else Verdict.ACCEPTED


def likeliest(failed: Sequence[tuple[Hypothesis, Verdict]]) -> Hypothesis | None:
    """The best of the attempts that all failed, as Whisper keeps one; None when each of them is broken."""
    doubtful = [hypothesis for hypothesis, verdict in failed if verdict is Verdict.DOUBTFUL]
    return max(doubtful, key=lambda hypothesis: hypothesis.avg_logprob, default=None)


def repeats(text: str) -> bool:
    """Whether a run of words (of characters where a language writes no spaces) comes too often in a row."""
    words = _words(text)
    units: Sequence[str] = words if len(words) > 1 else text
    return any(
        _longest_repetition(units, period) > MAX_REPEATS.get(period, MAX_REPEATS_OF_LONGER)
        for period in range(1, min(MAX_PERIOD, len(units) // 2) + 1)
    )


def echoes(text: str, bias: str) -> bool:
    """Whether the text does nothing but repeat words that the prompt holds in the same order."""
    words = _words(text)
    return len(words) >= MIN_ECHO_WORDS and f" {' '.join(words)} " in f" {' '.join(_words(bias))} "


def _repetitiveness(text: str) -> float:
    """The compression ratio by characters: in UTF-8 those of one script begin alike, which seems to be a loop."""
    return _ratio(text.encode("utf-16-le", "surrogatepass")[::2])


def _ratio(raw: bytes) -> float:
    return len(raw) / len(zlib.compress(raw))


def _longest_repetition(units: Sequence[str], period: int) -> int:
    longest = run = 0
    for before, after in zip(units, units[period:], strict=False):
        run = run + 1 if before == after else 0
        longest = max(longest, run)
    return longest // period + 1


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
