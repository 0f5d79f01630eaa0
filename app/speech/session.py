"""One recording while the engine works on it: counts its windows, reports progress, and collects what was heard.

Windows of many recordings are in the same batch, so each window knows the session that it belongs to.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock

from app.process.places import Rank
from app.speech.call.assemble import Call, Listened, ReadChannel
from app.speech.call.final_text import Frontier
from app.speech.call.segments import Heard
from app.speech.model import Model, WindowRequest
from app.speech.windows.cutting import Window
from app.transcripts.transcript import TranscriptWarning


@dataclass(frozen=True, eq=False)
class PendingWindow:
    """A window that waits to be recognized, as `request` says.

    `generation` is 0 for windows found by voice activity. A window cut out of speech that the model missed has its
    parent's generation plus 1. `repeats` counts how often the model has asked for the window again.
    """

    job: "Session"
    channel: int
    window: Window
    request: WindowRequest
    generation: int = 0
    repeats: int = 0

    @property
    def hurries(self) -> Callable[[], bool] | None:
        """Whether this window delays text that is reported: the windows after it may be settled already."""
        frontier = self.job.frontier
        return None if frontier is None else partial(frontier.is_held_by, self.window)

    @property
    def again(self) -> bool:
        return self.repeats > 0

    @property
    def kind(self) -> Hashable:
        """Windows of one kind have the same model, which says that they may be in the same batch."""
        return id(self.job.model), self.job.model.kind(self.request)


class Session:
    """The state of one call of `transcribe`, which the batcher calls a job. Any thread may call its methods."""

    def __init__(
        self,
        model: Model,
        call: Call,
        rank: Rank,
        report: Callable[[float], None],
        frontier: Frontier | None = None,
    ) -> None:
        self.rank = rank
        self.model = model
        self.result: Future[Listened] = Future()
        self.call = call
        self._report = report
        self.frontier = frontier
        self._lock = Lock()
        self._unread_seconds = sum(call.channels[index].duration_seconds for index in call.levels.distinct)
        self._found = self._done = self._progress = 0.0
        self._pending = 0
        self._votes: dict[str, float] = defaultdict(float)
        self._read: dict[int, ReadChannel] = {}
        self._heard: list[Heard] = []
        self._warnings: list[TranscriptWarning] = []

    @property
    def ended(self) -> bool:
        return self.result.done()

    @property
    def detects_language(self) -> bool:
        """Whether the languages of this call are detected: the client named none, and the model knows several."""
        return self.call.options.language is None and len(self.model.languages) > 1

    def request_for(self, window: Window, language: str, *, detects: bool) -> WindowRequest:
        """What the model is asked about a window. Nobody wants its answer when the session has ended."""
        return WindowRequest(self.call.options, window.seconds, language, detects, is_wanted=lambda: not self.ended)

    def fail(self, error: Exception) -> None:
        """Ends the session with an error, unless it has ended.

        The tracebacks of the error and of its causes are dropped, because they would keep a batch in memory.
        """
        cause: BaseException | None = error
        while cause is not None:
            cause.__traceback__ = None
            cause = cause.__cause__ or cause.__context__
        with suppress(InvalidStateError):
            self.result.set_exception(error)

    def found(self, windows: Sequence[Window], seconds_read: float) -> None:
        """Counts the windows that were found in a stretch of a channel."""
        with self._lock:
            self._pending += len(windows)
            self._found += sum(window.seconds for window in windows)
            self._unread_seconds -= seconds_read
            if self.frontier is not None:
                self.frontier.found(windows)

    def unread_from(self, channel: int, seconds: float) -> None:
        """Records how far a channel is read: no window that is found in it later begins before `seconds`."""
        if self.frontier is not None:
            with self._lock:
                self.frontier.unread_from(channel, seconds)

    def heard_since(self, known: int) -> tuple[Sequence[Heard], float]:
        """What was heard after the first `known` windows, and the time before which no more words can be found."""
        with self._lock:
            return tuple(self._heard[known:]), self.frontier.time if self.frontier is not None else 0.0

    def vote(self, probabilities: Mapping[str, float], seconds: float) -> None:
        """Counts the languages that were detected in a window, for channels with too little speech to decide alone."""
        with self._lock:
            for language, probability in probabilities.items():
                self._votes[language] += probability * seconds

    def likeliest_language(self) -> str | None:
        """The likeliest language of the call so far, over all channels."""
        with self._lock:
            return max(self._votes, key=self._votes.__getitem__, default=None)

    def channel_read(self, read: ReadChannel) -> None:
        """Records that all windows of a channel are found."""
        with self._lock:
            self._read[read.channel.index] = read
            self._report_progress()
            self._end_if_done()

    def settle(
        self, window: Window, heard: Heard | None, warning: TranscriptWarning | None, missed: Sequence[Window]
    ) -> None:
        """Records what was heard in a window, or None if nothing was.

        `missed` are the windows of the speech that the model missed in it, or the parts of a window that is cut before
        it is recognized. They will be settled later.
        """
        with self._lock:
            self._pending += len(missed) - 1
            self._done += window.seconds - sum(each.seconds for each in missed)
            if heard:
                self._heard.append(heard)
            if warning:
                self._warnings.append(warning)
            if self.frontier is not None:
                self.frontier.settled(window, missed)
            self._report_progress()
            self._end_if_done()

    def _report_progress(self) -> None:
        """Reports the part of the speech that is done, 0–1. It never falls, although speech is found only by and by."""
        seconds = self._found + max(0.0, self._unread_seconds)
        done = 1.0 if self._is_done else min(1.0, self._done / seconds) if seconds else 0.0
        if done > self._progress:
            self._progress = done
            self._report(done)

    @property
    def _is_done(self) -> bool:
        return self._pending == 0 and len(self._read) == len(self.call.levels.distinct)

    def _end_if_done(self) -> None:
        if self._is_done:
            with suppress(InvalidStateError):
                self.result.set_result(Listened(dict(self._read), tuple(self._heard), tuple(self._warnings)))
