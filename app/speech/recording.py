"""One recording on its way through the workers: what is found, what is done, and the transcript at the end."""

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from app.audio.pcm import PcmFile
from app.errors import AppError, TranscriptionFailed
from app.speech.batcher import DeviceLost, EngineStopped
from app.speech.quality import Decoded, Try, Verdict
from app.speech.segments import Heard, segments_of
from app.speech.transcript import Channel, Options, Transcript, TranscriptWarning
from app.speech.turns import Share
from app.speech.whisper import Encoded, Whisper
from app.speech.windows import Window


@dataclass(frozen=True, eq=False)
class PendingWindow:
    """A window that waits to be decoded in the first way of `ways`.

    `language` is that of its channel; `detected` tells that the window may turn out to have another.
    `encoded` is there when the encoder has seen it already.
    """

    job: "Recording"
    channel: int
    window: Window
    language: str
    detected: bool
    ways: tuple[Try, ...]
    failed: tuple[tuple[Decoded, Verdict], ...] = ()
    encoded: Encoded | None = None

    @property
    def kind(self) -> Hashable:
        """What windows of one batch have in common."""
        way = self.ways[0]
        prompt_length = len(self.job.prompt(self.language, way)) if way.prompted else 0
        return (id(self.job.whisper), self.job.options.task, way.context_seconds, way.temperature, prompt_length)


class Recording:
    """The state of one call of `transcribe`. Its methods may be called from any thread."""

    def __init__(
        self,
        whisper: Whisper,
        channels: Sequence[PcmFile],
        options: Options,
        share: Share,
        report: Callable[[float], None],
    ) -> None:
        self.share = share
        self.whisper = whisper
        self.channels = tuple(channels)
        self.options = options
        self.outcome: Future[Transcript] = Future()
        self.duration = max((pcm.duration_seconds for pcm in channels), default=0.0)
        self._report = report
        self._lock = Lock()
        self._unread = sum(pcm.duration_seconds for pcm in channels)
        self._found = self._done = 0.0
        self._pending = 0
        self._ends: dict[int, Channel] = {}
        self._heard: list[Heard] = []
        self._warnings: list[TranscriptWarning] = []

    @property
    def ended(self) -> bool:
        return self.outcome.done()

    @property
    def bias(self) -> str:
        """What the client tells the model to expect."""
        return " ".join((*self.options.hotwords, self.options.prompt or ""))

    def prompt(self, language: str, way: Try) -> list[int]:
        """The tokens that a window's decoding begins with."""
        options = self.options
        if not way.prompted:
            return self.whisper.prompt(language, options.task, "", ())
        return self.whisper.prompt(language, options.task, options.prompt or "", options.hotwords)

    def label(self, channel: int) -> str:
        if channel < len(self.options.channel_labels):
            return self.options.channel_labels[channel]
        return "speaker" if self.options.channels == "mix" else f"channel_{channel}"

    def fail(self, error: Exception) -> None:
        """Ends the job with an error, unless it has ended."""
        if not isinstance(error, AppError | EngineStopped | DeviceLost):
            error = TranscriptionFailed()
        with suppress(InvalidStateError):
            self.outcome.set_exception(error)

    def found(self, windows: Sequence[Window], seconds_read: float) -> None:
        """Counts what a stretch of a channel gave."""
        with self._lock:
            self._pending += len(windows)
            self._found += sum(window.seconds for window in windows)
            self._unread -= seconds_read

    def channel_read(self, channel: Channel) -> None:
        """Tells that all windows of a channel are found."""
        with self._lock:
            self._ends[channel.index] = channel
            self._end_if_done()

    def settle(self, window: Window, heard: Heard | None, warning: TranscriptWarning | None) -> None:
        """Takes what a window holds, None for nothing."""
        with self._lock:
            self._pending -= 1
            self._done += window.seconds
            if heard:
                self._heard.append(heard)
            if warning:
                self._warnings.append(warning)
            self._report(min(1.0, self._done / (self._found + max(0.0, self._unread))))
            self._end_if_done()

    def _end_if_done(self) -> None:
        if self._pending == 0 and len(self._ends) == len(self.channels):
            with suppress(InvalidStateError):
                self.outcome.set_result(self._transcript())

    def _transcript(self) -> Transcript:
        channels = tuple(self._ends[index] for index in sorted(self._ends))
        spoken = [channel for channel in channels if channel.language]
        main = max(spoken, key=lambda channel: channel.speech_seconds, default=None)
        return Transcript(
            language=main.language if main else None,
            language_probability=main.language_probability if main else None,
            duration=self.duration,
            channels=channels,
            segments=segments_of(
                self._heard,
                {channel.index: channel.label for channel in channels},
                with_words=self.options.word_timestamps,
            ),
            warnings=tuple(sorted(self._warnings, key=lambda warning: (warning.start or 0, warning.channel or 0))),
        )
