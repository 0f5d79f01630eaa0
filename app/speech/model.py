"""What a family of speech models is asked, and what it answers. Whisper is one family; others can be added beside it.

The engine settles: it finds speech, cuts windows, decides the language of a channel, forms batches, places words in
the recording, looks for speech that was missed, and puts the transcript together. A family only answers what one
window says, or asks to see it again. So a family must not know jobs, channels, queues or recordings, and the engine
must not know what a family keeps in `Ask.state`.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from app.transcripts.transcript import Options, TranscriptWarning, Word

if TYPE_CHECKING:  # the settings import this module too, and need no arrays
    import numpy as np
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[np.float32]"
"""16 kHz, one channel, −1…1."""


class ModelUnavailable(Exception):
    """A model cannot be found or cannot run here. The message says what to do, on one line."""


class DeviceLost(Exception):
    """The device that models run on does no more work for this process."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model can do, as known from its name before it is loaded. `languages` are ISO 639-1 codes."""

    languages: tuple[str, ...]
    translates: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """How sure a model was of a window, as Whisper defines the four; None for what a family does not measure."""

    temperature: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What a family is asked about one window with `seconds` of speech.

    `language` is that of the channel, or empty while it is not known. If `language_is_detected`, the window may be in
    another one. `state` belongs to the family: what `prepare` or `Again` gave it, None if neither did.
    """

    options: Options
    seconds: float
    language: str
    language_is_detected: bool
    state: Any = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a family found out about a window before it is queued.

    `languages` gives the probability of each language. It is empty if the language is known, or cannot be detected.
    """

    state: Any = None
    languages: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Recognized:
    """What was said in a window, never an empty text. All times are seconds from the start of the window.

    `words` holds each word at the time of its sound; None if the model does not time words. Then `phrases` may hold
    longer parts of the text: the engine shares the time of each among its words. Without phrases it shares the time of
    the window among the words of `text`. `warning` has no place yet, because the engine knows where the window is.
    """

    text: str
    language: str
    words: tuple[Word, ...] | None = None
    phrases: tuple[Word, ...] = ()
    scores: Scores = Scores()
    warning: TranscriptWarning | None = None


@dataclass(frozen=True, slots=True)
class NoSpeech:
    """A window in which nothing was said, or nothing that can be believed."""

    warning: TranscriptWarning | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """A window that must be recognized again, as `ask` says: the family changes its state, and perhaps its language."""

    ask: Ask


Answer: TypeAlias = Recognized | NoSpeech | Again


class Model(Protocol):
    """One loaded model. All threads of the engine share it, and may call it at the same time.

    Each method may raise GpuOutOfMemory, after which the engine tries smaller batches, and DeviceLost.
    """

    @property
    def window_seconds(self) -> int:
        """The most speech that a window may hold."""

    @property
    def languages(self) -> Sequence[str]:
        """The ISO 639-1 codes of what the model can write. If there is only one, no language is detected."""

    def prepare(self, ask: Ask, read: Callable[[], Samples]) -> Prepared:
        """Called once for each window that voice activity found. `read` reads its samples, and may raise OSError.

        A family detects the language here if `ask.language` is empty.
        """

    def kind(self, ask: Ask) -> Hashable:
        """Windows of one kind may share a batch. Called each time that a window is queued, so it must be quick."""

    def recognize(self, batch: Sequence[tuple[Ask, Samples]]) -> Sequence[Answer]:
        """One answer for each window of a batch, in the same order. All windows are of one kind."""
