"""A model of another server, as a `TextModel`: repeats requests, notices trouble, and tries the server until it ends.

What is sent and received runs on the event loop of one thread. The threads of the engine wait for it.

A recording whose windows are left out is lost, so a window is only left out if the server takes other windows. If it
takes none, the jobs wait.
"""

import asyncio
import logging
import random
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Lock, Thread
from typing import Any, TypeAlias, TypeVar

from app import metrics
from app.audio.pcm import SAMPLE_RATE
from app.speech.endpoints import Endpoint
from app.speech.model import ModelAway, Samples, TextRequest, Written
from app.speech.plausibility import SHORT_SECONDS
from app.speech.remote.breaker import Breaker
from app.speech.remote.client import TRIAL_SECONDS, Busy, Failing, Misused, Refused, RemoteClient
from app.speech.remote.flow import Flow

WINDOW_SECONDS = 28
MOST_FAILURES = 6  # of one window, after which it is left out if the server takes others
REFUSING_SECONDS = 600.0  # for how long a refusal that was final makes the next ones likely to be so
SILENCE_PROOF_SECONDS = 10.0  # for how long a text shows that a server without a text has heard none
LOOK_SECONDS = 5.0  # how often a window that waits looks whether it is still wanted
logger = logging.getLogger(__name__)
Result = TypeVar("Result")
Trouble: TypeAlias = Failing | Misused | Refused


@dataclass(frozen=True, slots=True)
class Patience:
    """How long windows wait, in seconds.

    A window is repeated after `first_pause`, then after longer ones up to `longest_pause`, and not left out before it
    has failed for `failing`. Its job returns to the queue after the server was away for `away`, or if the window has
    waited for `window` in all. A server that takes trials but no windows is left alone for `hold`.
    """

    first_pause: float = 0.5
    longest_pause: float = 8.0
    failing: float = 60.0
    away: float = 300.0
    window: float = 1200.0
    hold: float = 60.0

    def pause(self, failures: int) -> float:
        """A little longer or shorter each time, so that windows that failed together come back one by one."""
        pause = min(self.first_pause * 2.0 ** (failures - 1), self.longest_pause)
        return pause * random.uniform(0.75, 1.25)  # noqa: S311  guards nothing


@dataclass(slots=True, eq=False)
class _Window:
    """A window that is being written. `forms` are the request and simpler ones, for servers that refuse it."""

    request: TextRequest
    seconds: float
    began: float
    forms: list[TextRequest]
    failures: int = 0

    def is_simplified(self) -> bool:
        """Takes the next simpler form. Returns False if there is none."""
        if len(self.forms) == 1:
            return False
        del self.forms[0]
        return True


def _forms(request: TextRequest) -> list[TextRequest]:
    """The request, then without prompt and hotwords, then also without the language."""
    plain = replace(request, prompt="", hotwords=())
    return list(dict.fromkeys((request, plain, replace(plain, language=""))))


class RemoteModel:
    """Any number of threads may call `write`. Start it once, and close it."""

    window_seconds = WINDOW_SECONDS

    def __init__(self, endpoint: Endpoint, languages: Sequence[str], patience: Patience | None = None) -> None:
        self.languages = languages
        self._endpoint = endpoint
        self._patience = patience or Patience()
        self._breaker = Breaker()
        self._flow = Flow(endpoint.concurrency)
        self._client = RemoteClient(endpoint)
        self._loop = asyncio.new_event_loop()
        self._usable = asyncio.Event()
        self._usable.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._trying: asyncio.Task[None] | None = None
        self._trial_seconds = TRIAL_SECONDS  # as long as the window that led to the trouble
        self._answered_at = self._wrote_at = 0.0  # when the last window was answered, and when the last text came
        self._taken_at = self._taken_seconds = 0.0  # when the last trial was taken, and how long it was
        self._refused_at = -REFUSING_SECONDS  # when the last window was left out because it was refused
        self._questioning = asyncio.Lock()
        self._submitting = Lock()  # so that nothing is submitted after the loop was asked to stop
        self._closed = False
        self._thread = Thread(target=self._run, name=f"remote-{endpoint.name}", daemon=True)

    def start(self) -> None:
        """Starts the thread and the first trial. Does not wait for it, because the server may come later."""
        self._thread.start()
        self._loop.call_soon_threadsafe(self._try_server)

    def trouble(self) -> str | None:
        """Why the model cannot be used. None if it can."""
        return self._breaker.trouble

    def close(self) -> None:
        """Ends all requests. Threads that wait for one get ModelAway."""
        with self._submitting:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread.is_alive():
            self._thread.join()

    def write(self, batch: Sequence[tuple[TextRequest, Samples]]) -> Sequence[Written]:
        """Sends one request for each window. Raises ModelAway."""
        waiting = [self._submit(self._written(request, samples)) for request, samples in batch]
        try:
            return [each.result() for each in waiting]
        except CancelledError:
            raise ModelAway("the service ends") from None

    def _submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        with self._submitting:
            if not self._closed:
                return asyncio.run_coroutine_threadsafe(self._kept(work), self._loop)
        work.close()
        raise ModelAway("the service ends")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._end())
            with suppress(OSError, RuntimeError):
                self._loop.run_until_complete(self._client.close())
            self._loop.close()

    async def _kept(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Does the work in a task that `_end` cancels. The tasks that libraries start in it are left to them."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await work
        finally:
            self._tasks.discard(task)

    async def _end(self) -> None:
        await asyncio.sleep(0)  # so that all tasks have begun
        while tasks := set(self._tasks):  # one that ends may begin another
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _written(self, request: TextRequest, samples: Samples) -> Written:
        """Repeats the request while the server fails or is busy. Leaves a window out only if the server takes others.

        Raises ModelAway if the window's job should return to the queue.
        """
        window = _Window(request, len(samples) / SAMPLE_RATE, self._loop.time(), _forms(request))
        while True:
            await self._wait_for_turn(window)
            sent = self._loop.time()
            with self._flow.place():
                answer = await self._answer(window, samples)
            match answer:
                case Written():
                    if await self._is_believable(answer, sent, window):
                        self._answered(answer, sent, window)
                        return answer
                case Busy():
                    self._bear_with(answer, sent, window)
                case Refused() if window.is_simplified():
                    pass
                case _:
                    window.failures += 1
                    if await self._is_lost(answer, sent, window):
                        return Written("", is_refused=True)
                    window.forms = _forms(request)
                    await asyncio.sleep(self._patience.pause(window.failures))

    async def _answer(self, window: _Window, samples: Samples) -> Written | Busy | Trouble:
        try:
            return await self._measured(self._client.transcribe(window.forms[0], samples))
        except (Busy, Failing, Misused, Refused) as error:
            return error

    async def _wait_for_turn(self, window: _Window) -> None:
        """Waits while the model is in trouble, its server is busy, or enough requests are under way.

        Raises ModelAway if the server answers nothing for too long, or if nobody waits for the window any more.
        """
        began = now = self._loop.time()
        while not (self._is_usable() and self._flow.has_place):
            idle = now - max(began, self._answered_at)
            if idle >= self._patience.away or now - window.began >= self._patience.window:
                raise ModelAway(f"{self._endpoint.name}: {self._breaker.trouble or 'it is busy'}")
            _raise_if_unwanted(window)
            if self._usable.is_set() and (busy := self._breaker.wait(now)):
                behind_older_ones = 1.0 / (1.0 + (now - window.began) / 10)  # s
                await asyncio.sleep(min(LOOK_SECONDS, busy + behind_older_ones))
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(LOOK_SECONDS, self._patience.away)):
                        await (self._flow.freed() if self._usable.is_set() else self._usable.wait())
            now = self._loop.time()
        if now - window.began >= self._patience.window:
            raise ModelAway(f"{self._endpoint.name}: it does not take a window")
        _raise_if_unwanted(window)

    def _is_usable(self) -> bool:
        return self._usable.is_set() and not self._breaker.wait(self._loop.time())

    def _bear_with(self, error: Busy, sent: float, window: _Window) -> None:
        """Records that the server is busy. It is in trouble if it has answered no window for long."""
        self._is_busy(error, sent, window.seconds)
        if self._loop.time() - max(window.began, self._answered_at) >= self._patience.away:
            self._in_trouble(str(error), window.seconds)

    def _is_busy(self, error: Busy, sent: float, seconds: float) -> None:
        """Records that the server is busy. It is in trouble if it asks for a long pause."""
        now = self._loop.time()
        self._breaker.is_busy(error.seconds, sent, now)
        if self._breaker.wait(now) >= self._patience.away:
            self._in_trouble(str(error), seconds)

    async def _is_lost(self, error: Trouble, sent: float, window: _Window) -> bool:
        """Whether to leave a window out: if only this one fails, again and again and for long.

        One of several servers behind the same URL may be broken, and then others take the window. If the server takes
        trials but no windows, none is left out any more, because then the calls would have no text.
        """
        now = self._loop.time()
        if isinstance(error, Failing):
            self._has_failed(error, sent, window)
        most, least = MOST_FAILURES, self._patience.failing
        if isinstance(error, Refused) and now - self._refused_at < REFUSING_SECONDS:
            most, least = most // 2, least / 12  # or a call of which all windows are refused would hold others up
        is_late = window.failures >= most and now - window.began >= least
        is_first_refusal = window.failures == 1 and not isinstance(error, Failing)  # probably like all that follow
        if not (is_late or is_first_refusal) or not await self._takes_speech(window.seconds) or not is_late:
            return False
        if self._breaker.may_lose(window.began):
            if isinstance(error, Refused):
                self._refused_at = self._loop.time()
            logger.warning(
                "the server of the model %s takes others, but not one window: %s", self._endpoint.name, error
            )
            return True
        self._in_trouble(f"it takes trials, but no windows: {error}", 0.0, self._patience.hold)
        return False

    def _has_failed(self, error: Failing, sent: float, window: _Window) -> None:
        now = self._loop.time()
        is_silent = error.is_timeout and self._answered_at < sent
        if error.is_timeout:
            self._flow.timed_out(sent, now)
        is_own_fault = self._has_taken(window.seconds, since=window.began)
        if (not is_own_fault and self._breaker.failed(sent, now)) or is_silent:
            self._in_trouble(str(error), window.seconds)

    async def _is_believable(self, written: Written, sent: float, window: _Window) -> bool:
        """Silence is believed if the server has just written a text of other speech."""
        if written.text:
            self._wrote_at = self._loop.time()
            return True
        if window.seconds <= SHORT_SECONDS or self._wrote_at >= sent - SILENCE_PROOF_SECONDS:
            return True
        return await self._takes_speech(window.seconds)

    async def _measured(self, request: Coroutine[Any, Any, Result]) -> Result:
        began, result = self._loop.time(), "failed"
        try:
            answer = await request
            result = "answered"
        except Busy:
            result = "busy"
            raise
        except Refused:
            result = "refused"
            raise
        else:
            return answer
        finally:
            metrics.remote_requested(self._endpoint.name, result, self._loop.time() - began)

    async def _takes_speech(self, seconds: float) -> bool:
        """Whether the server takes good speech that is as long as a window. Windows that ask together share trials."""
        asked = self._loop.time()
        async with self._questioning:
            if not self._usable.is_set():
                return False
            return self._has_taken(seconds, since=asked) or await self._takes_trial(seconds)

    def _has_taken(self, seconds: float, *, since: float) -> bool:
        """Whether the last trial that the server took is so recent and so long."""
        return self._taken_at >= since and self._taken_seconds >= seconds

    async def _takes_trial(self, seconds: float) -> bool:
        """Whether the server writes a text of speech that is known to be good. If not, it is in trouble.

        If it is busy, nobody knows, and nothing is sent.
        """
        seconds, sent = max(seconds, TRIAL_SECONDS), self._loop.time()
        if self._breaker.wait(sent):
            return False
        try:
            await self._measured(self._client.try_out(seconds))
        except Busy as error:
            self._is_busy(error, sent, seconds)
            return False
        except (Failing, Misused, Refused) as error:
            self._in_trouble(str(error), seconds)
            return False
        self._wrote_at = self._taken_at = self._loop.time()
        self._taken_seconds = seconds
        self._recover(sent, seconds, is_trial=True)
        return True

    def _answered(self, written: Written, sent: float, window: _Window) -> None:
        self._answered_at = now = self._loop.time()
        self._flow.answered()
        if written.text:
            self._breaker.wrote(now)
        self._recover(sent, window.seconds, is_trial=False)

    def _recover(self, sent: float, seconds: float, *, is_trial: bool) -> None:
        """Ends the trouble, unless the answer shows too little, because less speech led to it than to the trouble."""
        if self._usable.is_set():
            self._breaker.answered()
        elif seconds >= self._trial_seconds and self._breaker.ends_trouble(sent, self._loop.time(), is_trial=is_trial):
            logger.info("the model %s can be used again", self._endpoint.name)
            self._breaker.answered()
            self._trial_seconds = TRIAL_SECONDS
            if self._trying is not None and self._trying is not asyncio.current_task():
                self._trying.cancel()
            self._trying = None
            self._usable.set()

    def _in_trouble(self, reason: str, seconds: float, hold: float = 0.0) -> None:
        """Lets all requests wait until a trial with so much speech succeeds, or for `hold` seconds at least."""
        if self._usable.is_set():
            logger.warning("the model %s cannot be used, so its jobs wait: %s", self._endpoint.name, reason)
        self._breaker.broke(reason, self._loop.time(), hold)
        self._trial_seconds = max(self._trial_seconds, seconds)
        self._usable.clear()
        self._try_server(hold)

    def _try_server(self, pause: float = 0.0) -> None:
        if self._trying is None or self._trying.done():
            self._trying = self._loop.create_task(self._kept(self._try_until_it_answers(pause)))

    async def _try_until_it_answers(self, pause: float) -> None:
        """The first trial, at the start, also ends if the server is busy, because windows will show the rest."""
        await asyncio.sleep(max(pause, self._breaker.wait(self._loop.time())))
        while True:
            try:
                is_taken = await self._takes_trial(self._trial_seconds)
            except Exception:
                logger.exception("the model %s could not be tried", self._endpoint.name)
                is_taken = False
            busy = self._breaker.wait(self._loop.time())
            if self._usable.is_set() and (is_taken or busy):
                return
            await asyncio.sleep(max(busy, self._breaker.trial_failed()))


def _raise_if_unwanted(window: _Window) -> None:
    if not window.request.is_wanted():
        raise ModelAway("nobody waits for the window any more")
