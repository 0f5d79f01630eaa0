"""Speech for the model to recognize, and measures of the recognized text.

No test may expect an exact word. The model's arithmetic differs between processors, so a word at the edge of a clip, a
comma or a capital letter may differ. Tests compare shares of words instead, and allow a few differences.
"""

import asyncio
from dataclasses import dataclass, field

from jiwer import process_words, wer
from whisper_normalizer.english import EnglishTextNormalizer

from testing.speech_samples import sample

FOX, COUNTING, HELLO = (sample("en", name) for name in ("quick_brown_fox", "counting", "hello_world"))
normalized = EnglishTextNormalizer()
FEW = 0.35  # the share of words that may be wrong; if the text is a different one, nearly all words are wrong


def error_rate(said: str, heard: str) -> float:
    """Returns the word error rate: words that are wrong, missing or too many, divided by the words that were said."""
    rate: float = wer(normalized(said), normalized(heard))
    return rate


def missed(said: str, heard: str) -> float:
    """Returns the share of the words of `said` that were not heard in this order.

    Words that were only heard do not count.
    """
    alignment = process_words(normalized(said), normalized(heard))
    return 1 - float(alignment.hits) / len(alignment.references[0])


@dataclass
class Heard:
    """Records the calls of `on_progress`."""

    progress: list[float] = field(default_factory=list)
    any: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, progress: float) -> None:
        self.progress.append(progress)
        self.any.set()


def ignore(progress: float) -> None:
    pass
