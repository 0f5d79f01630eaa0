"""What the tests say to the model, and how they judge what it heard.

No test may want an exact word, because the model's arithmetic is not the same on every processor: a word at the edge of
a clip, a comma or a capital letter may differ. So a test compares shares of words, with room for a few other ones.
"""

import asyncio
from dataclasses import dataclass, field

from jiwer import process_words, wer
from whisper_normalizer.english import EnglishTextNormalizer

from testing.speech_samples import sample

FOX, COUNTING, HELLO = (sample("en", name) for name in ("quick_brown_fox", "counting", "hello_world"))
normalized = EnglishTextNormalizer()
FEW = 0.35  # the share of words that may be wrong; of a text that is not what was said, nearly all are


def error_rate(said: str, heard: str) -> float:
    """The word error rate of all that was heard: words wrong, missing and too many, by the words that were said."""
    rate: float = wer(normalized(said), normalized(heard))
    return rate


def missed(said: str, heard: str) -> float:
    """The share of the words of `said` that were not heard in this order. What was heard beside them does not count."""
    alignment = process_words(normalized(said), normalized(heard))
    return 1 - float(alignment.hits) / len(alignment.references[0])


@dataclass
class Heard:
    """What `on_progress` was told."""

    progress: list[float] = field(default_factory=list)
    any: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, progress: float) -> None:
        self.progress.append(progress)
        self.any.set()


def ignore(progress: float) -> None:
    pass
