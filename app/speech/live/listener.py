"""Hears one channel of a live call: finds its utterances, and asks the batcher for their text while they grow.

All of it runs on the event loop, except voice activity, which has a thread for all channels. A channel has one pass at
a time, and beside it at most one that begins early, in the pause that probably ends an utterance. If the machine has
too much to do, no thread is free for passes that may be left out. So there are fewer drafts, and then none for a while.
"""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from app import metrics
from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.process.places import Rank
from app.speech.batching.batcher import EngineStopped
from app.speech.live.agreement import Agreement
from app.speech.live.events import Away, Behind, Final, OnEvent, Partial, SpeechStarted, SpeechStopped, UtteranceEvent
from app.speech.live.passes import DRAFT_PRIORITY, FINAL_PRIORITY, USUAL_PRIORITY, Asked, LivePass, PassResult
from app.speech.live.utterances import Closed, Opened, UtteranceFinder
from app.speech.model import Care, Model, ModelAway, Recognized, no_trouble
from app.speech.reader import SURE_SECONDS, SURE_SHARE
from app.speech.windows.cutting import FRAME_SAMPLES, PAD_SAMPLES, Piece, Window
from app.speech.windows.voice_activity import VoiceActivity
from app.speech.windows.word_times import spread, to_recording_times
from app.transcripts.transcript import Options, Word

HEARD_AT_ONCE = 3 * FRAME_SAMPLES  # 0.1 s
LONGEST_AT_ONCE = 2 * SAMPLE_RATE // FRAME_SAMPLES * FRAME_SAMPLES
LONGEST_UTTERANCE_SECONDS = 18.0

# The first drafts come early, so that a reader sees soon that somebody speaks.
FIRST_DRAFT_SECONDS = 0.2
EARLY_DRAFTS = 5

# While the machine has time, drafts come up to this share of the usual step after each other: words are shown sooner.
# A draft is not begun before that many times as long as the last one took, so that drafts cost at most 40 % of a core.
SHORTEST_STEP = 0.6
STEP_FACTOR = 2.5

# A draft that takes longer than this shows that the machine has too much to do. Then there are no drafts for a while:
# for this many times as long as it took too long.
USUAL_DRAFT_SECONDS = 1.0
REST_FACTOR = 3
# A channel whose sound comes faster than people speak is a recording that somebody plays. Its text may wait as that of
# a job does.
AHEAD_SECONDS = 5.0
EARLY_PAUSE_SECONDS = 0.2
"""An utterance that has paused for so long has probably ended."""
LATE_SECONDS = 5.0
WARNING_PAUSE_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Settings:
    """What stays the same for a channel."""

    model: Model
    pcm: PcmFile
    channel: int
    options: Options
    rank: Rank
    partial_seconds: float | None


@dataclass
class _Draft:
    """The drafts of one utterance: how far the last one reached, in samples, and what they agree on."""

    number: int
    until: int
    passes: int = 0
    seconds_of_last: float = 0.0
    is_shown: bool = False
    agreement: Agreement = field(default_factory=Agreement)


@dataclass
class _Early:
    """A pass over an utterance that has paused at the sample `end`, and has probably ended there."""

    number: int
    end: int
    pass_: "asyncio.Task[PassResult | None]"


class ChannelListener:
    """One channel of a live call. `submit` hands a pass to the batcher, and may raise EngineStopped.

    The samples before `first_sample` are not new. `may_draft` says whether a thread is free for a pass that may be left
    out, and `trouble` why the model cannot be used, or None.
    """

    def __init__(
        self,
        model: Model,
        pcm: PcmFile,
        channel: int,
        options: Options,
        rank: Rank,
        on_event: OnEvent,
        submit: Callable[[LivePass], None],
        voices: Executor,
        on_close: Callable[[], None],
        *,
        silence_ms: int,
        partial_ms: int | None,
        first_sample: int = 0,
        may_draft: Callable[[], bool] = lambda: True,
        trouble: Callable[[], str | None] = no_trouble,
    ) -> None:
        seconds = None if partial_ms is None else partial_ms / 1000
        self._settings = _Settings(model, pcm, channel, options, rank, seconds)
        self._on_event = on_event
        self._submit = submit
        self._voices = voices
        self._on_close = on_close
        self._may_draft = may_draft
        self._trouble = trouble
        self._voice = VoiceActivity()
        longest = min(LONGEST_UTTERANCE_SECONDS, float(model.window_seconds)) - 2 * PAD_SAMPLES / SAMPLE_RATE
        self._finder = UtteranceFinder(silence_ms / 1000, longest)
        self._grown, self._heard = 0, 0
        self._began, self._first = time.monotonic(), first_sample
        self._grown_at = time.monotonic()
        self._hearing: asyncio.Task[None] | None = None
        self._finishing = self._has_ended = False
        self._closed = False
        self._finals: deque[Closed] = deque()
        self._passes: asyncio.Task[None] | None = None
        self._draft = _Draft(-1, 0)
        self._early: _Early | None = None
        self._rests_until = 0.0  # without drafts, because the machine has no time for them
        self._warned_at = -WARNING_PAUSE_SECONDS
        single = model.languages[0] if len(model.languages) == 1 else None
        self._language = options.language or single
        self._votes: dict[str, float] = defaultdict(float)

    def advance(self, samples: int) -> None:
        self._grown, self._grown_at = samples, time.monotonic()
        if self._hearing is None and samples - self._heard >= HEARD_AT_ONCE and not (self._closed or self._finishing):
            self._hearing = asyncio.create_task(self._hear())

    async def finish(self) -> None:
        """The channel has ended. Returns when its last event was given.

        It waits for the tasks without awaiting them, because their end would hide that the caller was cancelled.
        """
        self._finishing = True
        if self._hearing is not None:
            await asyncio.wait([self._hearing])
        self._hearing = asyncio.create_task(self._hear())
        await asyncio.wait([self._hearing])
        while self._passes is not None and not self._passes.done():
            await asyncio.wait([self._passes])

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._on_close()
        self._finals.clear()
        if self._early is not None:
            self._early.pass_.cancel()
        if self._passes is not None:
            self._passes.cancel()

    async def _hear(self) -> None:
        """Looks for speech in what is new."""
        loop = asyncio.get_running_loop()
        try:
            while not self._closed:
                count = min(self._grown - self._heard, LONGEST_AT_ONCE)
                count -= 0 if self._finishing else count % FRAME_SAMPLES
                if count <= 0 or (count < HEARD_AT_ONCE and not self._finishing):
                    break
                probabilities = await loop.run_in_executor(self._voices, self._probabilities, self._heard, count)
                self._heard += count
                self._follow(self._finder.feed(probabilities))
            if self._finishing and not self._has_ended:
                self._has_ended = True
                self._follow(self._finder.finish())
        except asyncio.CancelledError:
            self.close()  # the engine has stopped, and with it the thread for voices
        except Exception:
            if not self._closed:  # the files of a call that has ended are erased
                logger.exception("live.hearing_failed")
            self.close()
        finally:
            self._hearing = None

    def _probabilities(self, start: int, count: int) -> NDArray[np.float32]:
        return self._voice.probabilities(self._settings.pcm.read(start, count))

    def _follow(self, found: Sequence[Opened | Closed]) -> None:
        channel = self._settings.channel
        for event in found:
            if isinstance(event, Closed):
                self._finals.append(event)
                if not event.is_cut:
                    self._give(SpeechStopped(channel, event.end / SAMPLE_RATE))
                if self._trouble() is not None:
                    self._give(Away(channel))
            elif not (self._finals and self._finals[-1].is_cut and self._finals[-1].end == event.start):
                self._give(SpeechStarted(channel, event.start / SAMPLE_RATE))
        self._begin_early()
        self._begin_passes()

    def _give(self, event: UtteranceEvent) -> None:
        if not self._closed:
            self._on_event(event)

    def _begin_early(self) -> None:
        """Lets the model hear an utterance that has paused and has probably ended, so that its final text comes sooner.

        If the speaker goes on, this was in vain. So it is left out if the machine has too much to do.
        """
        utterance = self._finder.open_utterance
        if utterance is None or self._is_played or time.monotonic() < self._rests_until:
            return
        number, start, end = utterance
        early = self._early
        if early is not None and (early.number, early.end) != (number, end):
            early.pass_.cancel()
            self._early = early = None
        if early is None and self._finder.quiet_seconds >= EARLY_PAUSE_SECONDS and self._may_draft():
            pass_ = asyncio.create_task(self._heard_in(start, end, "quick", FINAL_PRIORITY))
            self._early = _Early(number, end, pass_)

    async def _heard_at_last(self, closed: Closed) -> PassResult | None:
        """What the model hears in an utterance that has ended."""
        early, self._early = self._early, None
        if early is not None and (early.number, early.end) == (closed.number, closed.end):
            with suppress(asyncio.CancelledError):  # of the early pass, if the channel is closed meanwhile
                return await early.pass_
            return None
        if early is not None:
            early.pass_.cancel()
        priority = USUAL_PRIORITY if self._is_played else FINAL_PRIORITY
        return await self._heard_in(closed.start, closed.end, "quick", priority)

    def _begin_passes(self) -> None:
        if self._passes is None and not self._closed and (self._finals or self._is_draft_due()):
            self._passes = asyncio.create_task(self._run_passes())

    async def _run_passes(self) -> None:
        """Runs the passes that are due, one after the other. Final texts go first."""
        try:
            while not self._closed:
                if self._finals:
                    await self._give_final(self._finals.popleft())
                elif self._is_draft_due():
                    await self._give_partial()
                else:
                    return
        except asyncio.CancelledError:
            pass
        except Exception:
            logger.exception("live.pass_failed")
        finally:
            self._passes = None

    @property
    def _is_played(self) -> bool:
        """Whether the sound comes faster than people speak."""
        came = (self._grown - self._first) / SAMPLE_RATE
        return came > time.monotonic() - self._began + AHEAD_SECONDS

    def _is_draft_due(self) -> bool:
        if self._is_played:
            return False
        step, utterance = self._settings.partial_seconds, self._finder.open_utterance
        if step is None or utterance is None or time.monotonic() < self._rests_until or self._finder.quiet_seconds:
            return False
        number, start, end = utterance
        if number != self._draft.number:
            self._draft = _Draft(number, start)
        if self._draft.passes < EARLY_DRAFTS:
            due = min(step, FIRST_DRAFT_SECONDS)
        else:
            due = min(step, max(SHORTEST_STEP * step, STEP_FACTOR * self._draft.seconds_of_last))
        return (end - self._draft.until) / SAMPLE_RATE >= due and self._may_draft()

    async def _give_partial(self) -> None:
        utterance = self._finder.open_utterance
        assert utterance is not None
        number, start, end = utterance
        draft = self._draft
        draft.until, draft.passes = end, draft.passes + 1
        began = time.monotonic()
        result = await self._heard_in(start, self._heard, "draft", DRAFT_PRIORITY)
        now = time.monotonic()
        draft.seconds_of_last = now - began
        self._rests_until = now + REST_FACTOR * (draft.seconds_of_last - USUAL_DRAFT_SECONDS)
        if result is None or result.heard is None or any(closed.number == number for closed in self._finals):
            return  # the final text is due, and says more
        if draft.agreement.hear(result.heard.text):
            self._give(Partial(self._settings.channel, number, start / SAMPLE_RATE, draft.agreement.text))
            draft.is_shown = True
            metrics.live_delay("partial", self._seconds_since(end))

    async def _give_final(self, closed: Closed) -> None:
        late = self._seconds_since(closed.end)
        result = await self._heard_at_last(closed)
        delay = self._seconds_since(closed.end)
        metrics.live_delay("final", delay)
        if late > LATE_SECONDS and time.monotonic() - self._warned_at > WARNING_PAUSE_SECONDS:
            self._warned_at = time.monotonic()
            self._give(Behind(self._settings.channel, round(late, 1)))
        if result is not None:
            self._vote(result, (closed.end - closed.start) / SAMPLE_RATE)
        if result is not None and result.heard is not None:
            self._give(self._final(closed, result.heard))
        elif self._draft.number == closed.number and self._draft.is_shown:
            believed = self._draft.agreement.text if result is None else ""
            self._give(self._without_words(closed, believed))

    async def _heard_in(self, start: int, end: int, care: Care, priority: int) -> PassResult | None:
        """What the model hears between two samples. None if the model failed."""
        settings = self._settings
        first, last = max(0, start - PAD_SAMPLES), min(self._heard, end + PAD_SAMPLES)
        work = LivePass(
            Asked(
                settings.model,
                settings.pcm,
                Window((Piece(first, max(last, first + FRAME_SAMPLES)),)),
                settings.options,
                self._language or "",
                settings.options.language is None and len(settings.model.languages) > 1,
                dict(self._votes),
                replace(settings.rank, priority=priority),
                care,
            )
        )
        try:
            self._submit(work)
            return await asyncio.wrap_future(work.result)
        except EngineStopped:
            return None
        except ModelAway:  # expected, and the model itself has logged why
            self._give(Away(settings.channel))
            return None
        except Exception:
            logger.exception("live.pass_failed")
            return None

    def _vote(self, result: PassResult, seconds: float) -> None:
        """Counts the languages that were detected, until the language of the channel is clear."""
        for language, probability in result.languages.items():
            self._votes[language] += probability * seconds
        together = sum(self._votes.values())
        likeliest = max(self._votes, key=self._votes.__getitem__, default=None)
        if self._language is None and likeliest is not None and together >= SURE_SECONDS:
            self._language = likeliest if self._votes[likeliest] >= SURE_SHARE * together else None

    def _final(self, closed: Closed, heard: Recognized) -> Final:
        start, end = closed.start / SAMPLE_RATE, closed.end / SAMPLE_RATE
        first, last = max(0, closed.start - PAD_SAMPLES), closed.end + PAD_SAMPLES
        window = Window((Piece(first, last),))
        words = heard.words or spread(heard.phrases or (Word(0.0, window.seconds, f" {heard.text}"),))
        timed = to_recording_times(words, window, window.end, aligned=heard.words is not None)
        return Final(self._settings.channel, closed.number, start, end, heard.text, heard.language, timed)

    def _without_words(self, closed: Closed, text: str) -> Final:
        start, end = closed.start / SAMPLE_RATE, closed.end / SAMPLE_RATE
        return Final(self._settings.channel, closed.number, start, end, text, self._language or "", ())

    def _seconds_since(self, sample: int) -> float:
        """Seconds since this sample came."""
        return time.monotonic() - self._grown_at + (self._grown - sample) / SAMPLE_RATE
