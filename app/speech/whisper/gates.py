"""Decides whether to believe what the model wrote for a window, and otherwise how to try again; pure.

The thresholds are those of OpenAI's Whisper (`transcribe.py`). The gates for texts of all models (`plausibility.py`)
catch the loops and the echoes of the prompt that pass these thresholds in short windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from math import ceil, exp, isfinite

from app.speech.model import Care
from app.speech.plausibility import SHORT_SECONDS, is_plausible, most_characters, ratio

MIN_AVG_LOGPROB = -1.0
MAX_NO_SPEECH_PROB = 0.6
# Singing and a babble of voices give words of which the model is a little surer. Of 432 windows of speech, four
# were as doubtful, and their texts were wrong (decision 39).
SOUND_NO_SPEECH_PROB = 0.2
MIN_SOUND_LOGPROB = -0.9
MIN_UNHEARD_LOGPROB = -0.8
FULL_CONTEXT_SECONDS = 30
CALM = (0.0,)
TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the model wrote for one window, as Whisper measures it.

    `cut` is true if the text has as many tokens as a person can say in the window, because then it is a loop. A text
    that ends at the model's own limit is not: speech that it leaves out is found as missed speech.
    """

    text: str
    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    cut: bool = False

    @property
    def compression_ratio(self) -> float:
        """UTF-8 bytes divided by their zlib length; high if the text repeats itself."""
        return ratio(self.text.encode())

    @property
    def probability(self) -> float:
        """The average probability of a token."""
        return exp(self.avg_logprob)


@dataclass(frozen=True, slots=True)
class Try:
    """One way to recognize a window. If it is `prompted`, the model gets the client's prompt and hotwords.

    If it is `greedy`, the model follows one text instead of several side by side. It is faster and makes more errors.
    The model writes one hypothesis at each of the `temperatures`. The first one that is believed counts.
    """

    context_seconds: int
    temperatures: tuple[float, ...]
    prompted: bool
    greedy: bool = False

    @property
    def samples(self) -> bool:
        """Whether the model draws its words at random."""
        return self.temperatures != CALM


class Verdict(Enum):
    ACCEPTED = auto()
    SILENT = auto()
    DOUBTFUL = auto()
    BROKEN = auto()


def tries(context_seconds: int, prompted: bool) -> tuple[Try, ...]:
    """The ways to recognize a window. Each is used only if the way before it failed."""
    first = Try(context_seconds, CALM, prompted)
    calm = Try(FULL_CONTEXT_SECONDS, CALM, prompted=False)
    sampled = Try(FULL_CONTEXT_SECONDS, TEMPERATURES, prompted=False)
    return (first, sampled) if first == calm else (first, calm, sampled)


def tries_with(care: Care, context_seconds: int, prompted: bool) -> tuple[Try, ...]:
    """As `tries`, but with less care: nothing at rising temperatures, or only one greedy try."""
    if care == "draft":
        return (Try(context_seconds, CALM, prompted, greedy=True),)
    every = tries(context_seconds, prompted)
    return every if care == "full" else tuple(way for way in every if not way.samples)


def most_tokens(seconds: float, tokens_per_character: float) -> int:
    """More tokens than a person speaks in `seconds`. The model is cut off there, so that no loop is written for long.

    A script such as Georgian or Hindi needs one to three tokens for a letter, but Latin letters less than half a token.
    """
    return ceil(tokens_per_character * most_characters(seconds))


def judge(hypothesis: Hypothesis, seconds: float, bias: str = "") -> Verdict:
    """Judges what was written for a window with `seconds` of speech.

    `bias` is the prompt and the hotwords that the model got. A text that only repeats them was not heard.
    """
    if not isfinite(hypothesis.avg_logprob):  # float16 overflows
        return Verdict.BROKEN
    unheard = hypothesis.no_speech_prob > MAX_NO_SPEECH_PROB
    if not hypothesis.text:
        return Verdict.SILENT if unheard or seconds <= SHORT_SECONDS else Verdict.BROKEN
    if unheard and hypothesis.avg_logprob < MIN_AVG_LOGPROB:
        return Verdict.SILENT
    if hypothesis.cut or not is_plausible(hypothesis.text, seconds, bias):
        return Verdict.BROKEN
    return Verdict.DOUBTFUL if hypothesis.avg_logprob < _least_logprob(hypothesis, seconds) else Verdict.ACCEPTED


def may_be_sound(hypothesis: Hypothesis, seconds: float) -> bool:
    """Whether a window with `seconds` of speech may hold a sound without words. Then no doubtful text of it is kept.

    A short window may hold one word, of which the model is rarely sure.
    """
    return hypothesis.no_speech_prob > SOUND_NO_SPEECH_PROB and seconds > SHORT_SECONDS


def likeliest(failed: Sequence[tuple[Hypothesis, Verdict]], seconds: float) -> Hypothesis | None:
    """The likeliest hypothesis if all tries failed, as in OpenAI's Whisper.

    None if all of them are broken, or if one of them shows that the window may hold a sound without words.
    """
    if any(may_be_sound(hypothesis, seconds) for hypothesis, _ in failed):
        return None
    doubtful = [hypothesis for hypothesis, verdict in failed if verdict is Verdict.DOUBTFUL]
    return max(doubtful, key=lambda hypothesis: hypothesis.avg_logprob, default=None)


def _least_logprob(hypothesis: Hypothesis, seconds: float) -> float:
    if not may_be_sound(hypothesis, seconds):
        return MIN_AVG_LOGPROB
    return MIN_UNHEARD_LOGPROB if hypothesis.no_speech_prob > MAX_NO_SPEECH_PROB else MIN_SOUND_LOGPROB
