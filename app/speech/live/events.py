"""What the engine hears in one channel of a live call. All times are seconds from the start of the call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from app.transcripts.transcript import Word


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    channel: int
    start: float


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    channel: int
    end: float


@dataclass(frozen=True, slots=True)
class Partial:
    """The words of an utterance on which two passes agreed. It only grows. A channel numbers its utterances from 0."""

    channel: int
    utterance: int
    start: float
    text: str


@dataclass(frozen=True, slots=True)
class Final:
    """The final text of an utterance. It is empty if there was a partial, and the model believes it no more.

    If the model fails, it is the last partial.
    """

    channel: int
    utterance: int
    start: float
    end: float
    text: str
    language: str
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Behind:
    """Final texts are so many seconds late, because the machine has too much to do."""

    channel: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Away:
    """The model cannot be used at the moment, so an utterance waits for its text and may get none."""

    channel: int


UtteranceEvent: TypeAlias = SpeechStarted | SpeechStopped | Partial | Final | Behind | Away
OnEvent = Callable[[UtteranceEvent], None]
