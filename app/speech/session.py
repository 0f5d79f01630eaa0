"""One recording on its way through the workers: what is found, what is done, and all that was heard at the end."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from app.speech.batching.fairness import Share
from app.speech.call.assemble import Call, Listened, ReadChannel
from app.speech.call.segments import Heard
from app.speech.whisper.adapter import Encoded, Whisper
from app.speech.whisper.gates import Decoded, Try, Verdict, tries
from app.speech.windows.cutting import Window
from app.transcripts.transcript import TranscriptWarning


@dataclass(frozen=True, eq=False)
class PendingWindow:
    """A window that waits to be decoded in the first way of `ways`.

    `language` is that of its channel; `detected` tells that the window may turn out to have another.
    `encoded` is there when the encoder has seen it already. `generation` counts from 0 for windows that voice activity
    gave; one out of what was passed over in another is of the next.
    """

    job: "Recording"
    channel: int
    window: Window
    language: str
    detected: bool
    ways: tuple[Try, ...]
    failed: tuple[tuple[Decoded, Verdict], ...] = ()
    encoded: Encoded | None = None
    generation: int = 0

    @property
    def kind(self) -> Hashable:
        """What windows of one batch have in common."""
        way = self.ways[0]
        prompt_length = len(self.job.prompt(self.language, way)) if way.prompted else 0
        return (id(self.job.whisper), self.job.call.options.task, way.context_seconds, way.temperature, prompt_length)


class Recording:
    """The state of one call of `transcribe`. Its methods may be called from any thread."""

    def __init__(self, whisper: Whisper, call: Call, share: Share, report: Callable[[float], None]) -> None:
        self.share = share
        self.whisper = whisper
        self.outcome: Future[Listened] = Future()
        self.call = call
        self._report = report
        self._lock = Lock()
        self._unread = sum(call.channels[index].duration_seconds for index in call.levels.distinct)
        self._found = self._done = 0.0
        self._pending = 0
        self._votes: dict[str, float] = defaultdict(float)
        self._read: dict[int, ReadChannel] = {}
        self._heard: list[Heard] = []
        self._warnings: list[TranscriptWarning] = []

    @property
    def ended(self) -> bool:
        return self.outcome.done()

    @property
    def bias(self) -> str:
        """What the client tells the model to expect."""
        return " ".join((*self.call.options.hotwords, self.call.options.prompt or ""))

    def prompt(self, language: str, way: Try) -> list[int]:
        """The tokens that a window's decoding begins with."""
        options = self.call.options
        if not way.prompted:
            return self.whisper.prompt(language, options.task, "", ())
        return self.whisper.prompt(language, options.task, options.prompt or "", options.hotwords)

    def ways(self, window: Window) -> tuple[Try, ...]:
        """How to decode a window, first to last."""
        return tries(self.whisper.context_seconds(window.seconds), prompted=bool(self.bias.strip()))

    def fail(self, error: Exception) -> None:
        """Ends the job with an error, unless it has ended. Its traceback would hold on to the memory of a batch."""
        with suppress(InvalidStateError):
            self.outcome.set_exception(error.with_traceback(None))

    def found(self, windows: Sequence[Window], seconds_read: float) -> None:
        """Counts what a stretch of a channel gave."""
        with self._lock:
            self._pending += len(windows)
            self._found += sum(window.seconds for window in windows)
            self._unread -= seconds_read

    def vote(self, probabilities: Mapping[str, float], seconds: float) -> None:
        """Counts the languages of a window of so many seconds, for the channels that cannot be sure by themselves."""
        with self._lock:
            for language, probability in probabilities.items():
                self._votes[language] += probability * seconds

    def likeliest_language(self) -> str | None:
        """The language of the call as far as it was heard, on whatever channel."""
        with self._lock:
            return max(self._votes, key=self._votes.__getitem__, default=None)

    def channel_read(self, read: ReadChannel) -> None:
        """Tells that all windows of a channel are found."""
        with self._lock:
            self._read[read.channel.index] = read
            self._end_if_done()

    def settle(
        self, window: Window, heard: Heard | None, warning: TranscriptWarning | None, rests: Sequence[Window]
    ) -> None:
        """Takes what a window holds, None for nothing, and what of it is still to be heard."""
        with self._lock:
            self._pending += len(rests) - 1
            self._done += window.seconds - sum(rest.seconds for rest in rests)
            if heard:
                self._heard.append(heard)
            if warning:
                self._warnings.append(warning)
            done = min(1.0, self._done / (self._found + max(0.0, self._unread)))
            self._report(1.0 if self._is_done else done)  # the sums are of many seconds, and not exact
            self._end_if_done()

    @property
    def _is_done(self) -> bool:
        return self._pending == 0 and len(self._read) == len(self.call.levels.distinct)

    def _end_if_done(self) -> None:
        if self._is_done:
            with suppress(InvalidStateError):
                self.outcome.set_result(Listened(dict(self._read), tuple(self._heard), tuple(self._warnings)))
