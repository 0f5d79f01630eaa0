"""The seam between the engine and the families of speech models: what a model is asked, and what it answers.

The engine does all that families have in common: it finds speech, cuts windows, decides the language of a channel,
forms batches, places words in the recording, looks for speech that was missed, and puts the transcript together. A
model only says what it hears in one window, or asks to hear the window again. So a family needs no knowledge of jobs,
channels, queues or recordings. The engine does not look into `WindowRequest.state`.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from app.transcripts.transcript import Options, TranscriptWarning, Word

if TYPE_CHECKING:  # the settings import this module too, and need no arrays
    import numpy as np
    from numpy.typing import NDArray

Care = Literal["full", "quick", "draft"]
"""How much work a window is worth. `full` tries all that the family can do. `quick` leaves out what takes seconds.
`draft` is tried once, as fast as possible, and needs no times of words."""

Samples: TypeAlias = "NDArray[np.float32]"
"""16 kHz, one channel, −1…1."""


DEFAULT_BEAM_SIZE = 5  # a beam of 3 is faster, but it makes more errors (decision 43)


REMOTE = "remote"
"""The kind of the device of a model that another server runs."""


class ModelUnavailable(Exception):
    """A model cannot be found or cannot run here. The message says what to do, on one line."""


class ModelAway(Exception):
    """A model that another server runs cannot be used at the moment. The message says why, on one line."""


class DeviceLost(Exception):
    """The device that models run on does no more work for this process."""


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """Where and how the operator wants models to run.

    `kind` is `auto`, `cpu` or `cuda`. No `indexes` mean all GPUs. `beam_size` is how many texts a model follows side by
    side until it chooses one. Families that do not search like this ignore it.
    """

    kind: str = "auto"
    indexes: tuple[int, ...] = ()
    compute_type: str = "auto"
    beam_size: int = DEFAULT_BEAM_SIZE


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model runs. `kind` is `cpu`, `cuda` or `remote`.

    A `remote` model runs on another server. Its `threads` only wait for answers, so the engine gives each of these
    models threads of its own.

    `threads` is how many threads the model needs: one for each core, or some for each GPU of `indexes`. The engine
    starts as many as the model that needs most, and all of them may call every model at the same time.

    `batch_size` is how many windows of this model should be recognized together, unless the operator sets a number.
    """

    kind: str
    indexes: tuple[int, ...]
    threads: int
    compute_type: str
    batch_size: int


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model can do, as its name shows before it is loaded.

    `languages` are ISO 639-1 codes, or longer codes for languages without one. `words` says whether words get the times
    of their sound, and `prompt` whether the model reads the client's prompt and hotwords.
    """

    family: str
    languages: tuple[str, ...]
    translates: bool
    words: bool = True
    prompt: bool = True

    def lack(self, options: Options) -> tuple[str, str] | None:
        """The first option that the model cannot follow, or None: its field, and what follows "the model" in words."""
        if options.task == "translate" and not self.translates:
            return "task", "cannot translate"
        if options.word_timestamps and not self.words:
            return "word_timestamps", "cannot time words"
        if options.prompt and not self.prompt:
            return "prompt", "reads no prompt"
        if options.hotwords and not self.prompt:
            return "hotwords", "reads no hotwords"
        return None


@dataclass(frozen=True, slots=True)
class Scores:
    """How sure a model was of a window, as Whisper defines the four; None for what a family does not measure."""

    temperature: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None


def always() -> bool:
    """What `is_wanted` is for a request whose answer is always wanted."""
    return True


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """What a family is asked about one window with `seconds` of speech.

    `language` is that of the channel or, if `prepare` found it, of the window; empty while neither is known. If
    `language_is_detected`, the window may be in another one, and that is not detected yet. If there are
    `options.languages`, it may only be in one of them (`candidates.among`). The engine keeps `state` for the family. It
    is what `prepare` or the last `Again` gave, or None. `is_wanted` says whether the client still waits for the answer.
    """

    options: Options
    seconds: float
    language: str
    language_is_detected: bool
    state: Any = None
    care: Care = "full"
    is_wanted: Callable[[], bool] = field(default=always, compare=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a family found out about a window before it is queued.

    `languages` gives the probability of each language. It is empty if the language is known, or cannot be detected.
    `stretches` gives the same for equal stretches of the window, in their order, because a channel may change its
    language inside the window. It is empty if they were not detected.
    """

    state: Any = None
    languages: Mapping[str, float] | None = None
    stretches: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True, slots=True)
class Recognized:
    """What was said in a window. `text` is never empty. All times are seconds from the start of the window.

    `words` holds each word at the time of its sound; None if the model does not time words. Then `phrases` may hold
    longer parts of the text: the engine shares the time of each among its words. Without phrases it shares the time of
    the window among the words of `text`. `warning` has no channel and no times, because a family does not know where in
    the recording the window is.
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
    """A window that must be recognized again, as `request` says, with another state and perhaps another language."""

    request: WindowRequest


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
        """The codes of the languages that the model can write. If there is only one, no language is detected."""

    def prepare(self, request: WindowRequest, read: Callable[[], Samples]) -> Prepared:
        """Called once for each window that voice activity found. `read` reads its samples, and may raise OSError.

        A family detects the language here if `request.language` is empty.
        """

    def kind(self, request: WindowRequest) -> Hashable:
        """Windows of one kind may share a batch. Called each time that a window is queued, so it must be quick."""

    def recognize(self, batch: Sequence[tuple[WindowRequest, Samples]]) -> Sequence[Answer]:
        """One answer for each window of a batch, in the same order. All windows are of one kind."""


@dataclass(frozen=True, slots=True)
class TextRequest:
    """What a text model is asked about one window.

    `attempt` counts from 0. A second attempt follows a text that cannot be believed, and has neither prompt nor
    hotwords. `is_wanted` is that of the WindowRequest.
    """

    language: str
    prompt: str = ""
    hotwords: tuple[str, ...] = ()
    attempt: int = 0
    is_wanted: Callable[[], bool] = field(default=always, compare=False)


@dataclass(frozen=True, slots=True)
class Written:
    """What a text model wrote for a window.

    `language` is the one that the model names; empty if it names none. If `is_refused`, the model takes other windows,
    but not this one.
    """

    text: str
    language: str = ""
    is_refused: bool = False


class TextModel(Protocol):
    """A model that only writes text. Whisper detects the language for it, and times its words (`timed_text.py`).

    All threads of the engine share it, and may call it at the same time.
    """

    @property
    def window_seconds(self) -> int:
        """The most speech that a window may hold."""

    @property
    def languages(self) -> Sequence[str]:
        """The codes of the languages that the model can write. If there is only one, no language is detected."""

    def write(self, batch: Sequence[tuple[TextRequest, Samples]]) -> Sequence[Written]:
        """One text for each window, in the same order; empty if nothing was said. Raises ModelAway."""


def nothing_to_close() -> None:
    """What `close` is for a model that holds no connections or threads of its own."""


def no_trouble() -> None:
    """What `trouble` is for a model that can always be used."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to recognize, and where it runs.

    `trouble` says why the model cannot be used at the moment, and returns None if it can. It is called often and on the
    event loop, so it must be quick. `close` ends whatever a call waits for, and the model's own threads.
    """

    model: Model
    device: Device
    trouble: Callable[[], str | None] = no_trouble
    close: Callable[[], None] = nothing_to_close


@dataclass(frozen=True, slots=True)
class LoadedText:
    """The same as LoadedModel, of a model that only writes text."""

    model: TextModel
    device: Device
    trouble: Callable[[], str | None] = no_trouble
    close: Callable[[], None] = nothing_to_close


class Ears(Protocol):
    """What Whisper does for text models: it detects the language of a window, and times words that others wrote."""

    @property
    def window_seconds(self) -> int: ...

    @property
    def languages(self) -> Sequence[str]: ...

    def prepare(self, request: WindowRequest, read: Callable[[], Samples]) -> Prepared:
        """As that of a Model. Its `state` is for `align`."""

    def align(self, batch: Sequence[tuple[WindowRequest, Samples, str]]) -> Sequence[tuple[Word, ...]]:
        """The words of each text at the times of their sound, each with Whisper's probability.

        There are no words if a text cannot be aligned. Raises GpuOutOfMemory.
        """


@dataclass(frozen=True, slots=True)
class OnDisk:
    """The files of a model that needs no download.

    `compared_with` says what their hashes were compared with. It is empty if nobody knows what they should be. `damage`
    says what is wrong with them; empty if nothing is.
    """

    folder: Path
    weights_bytes: int
    compared_with: str = ""
    damage: str = ""


class Family(Protocol):
    """Models that share their code. Each method gets the name of a model, as the operator wrote it.

    A family must be cheap to import, because the settings and every command import it. It imports its libraries in
    `check` and `load`.
    """

    def serves(self, name: str) -> bool:
        """Whether a model of this name belongs to the family. Decides by the name alone."""

    def abilities(self, name: str) -> Abilities:
        """What the model can do. Asked for each request, also in processes that load no model."""

    def check(self, name: str, choice: DeviceChoice) -> None:
        """Finds mistakes before anything slow begins. Loads nothing.

        Raises ModelUnavailable if there is no such model, or if this machine lacks the device.
        """

    def load(self, name: str, models_dir: Path, choice: DeviceChoice) -> LoadedModel | LoadedText:
        """Fetches, checks, loads and warms up a model. Blocks. Raises ModelUnavailable."""

    def bundled(self) -> Sequence[str]:
        """The names of the models that are installed as packages."""

    def downloaded(self, models_dir: Path) -> Sequence[str]:
        """The names of the models in `models_dir`."""

    def locate(self, name: str, models_dir: Path) -> Path | None:
        """The folder of a model that needs no download, or None. Raises ModelUnavailable if its files are damaged."""

    def examine(self, name: str, models_dir: Path) -> OnDisk | None:
        """Reads all files of a model that needs no download, and compares their hashes. None if it needs one."""

    def fetch(self, name: str, models_dir: Path) -> Path:
        """The folder of a model, downloaded into `models_dir` if it is not on disk. Raises ModelUnavailable."""
