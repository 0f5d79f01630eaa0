"""What the tests of the engine say to it, and how they listen to what it tells."""

import asyncio
from dataclasses import dataclass, field

from whisper_normalizer.english import EnglishTextNormalizer

from tests.speech_samples import sample

FOX, COUNTING, HELLO = (sample("en", name) for name in ("quick_brown_fox", "counting", "hello_world"))
normalized = EnglishTextNormalizer()


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
