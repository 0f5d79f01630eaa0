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
from typing import Any, TypeVar

from app import metrics
from app.audio.pcm import SAMPLE_RATE
from app.speech.endpoints import Endpoint
from app.speech.model import ModelAway, Samples, TextRequest, Written
from app.speech.remote.breaker import Breaker
from app.speech.remote.client import TRIAL_SECONDS, Busy, Failing, Misused, Refused, RemoteClient

WINDOW_SECONDS = 28
PATIENCE_SECONDS = 60.0  # for a window, until its job returns to the queue
LONGEST_PATIENCE = 10  # times that, if the server is busy but takes other windows
MOST_FAILURES = 4  # of one window, after which it is left out if the server takes others
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
LOST_PAUSE_SECONDS = 60.0  # until a server that takes trials but no windows is tried again
SILENCE_SECONDS = 2.0  # a window this short may be a cough without a word
logger = logging.getLogger(__name__)
Result = TypeVar("Result")


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

    def pause(self) -> float:
        """How many seconds to wait after a failure."""
        return _spread() * min(FIRST_PAUSE_SECONDS * 2.0 ** (self.failures - 1), LONGEST_PAUSE_SECONDS)


def _spread() -> float:
    """Lengthens a pause a little, so that windows that failed together come back one by one."""
    return random.uniform(1.0, 1.25)  # noqa: S311  guards nothing


def _forms(request: TextRequest) -> list[TextRequest]:
    """The request, then without prompt and hotwords, then also without the language."""
    plain = replace(request, prompt="", hotwords=())
    return list(dict.fromkeys((request, plain, replace(plain, language=""))))


class RemoteModel:
    """Any number of threads may call `write`. Start it once, and close it."""

    window_seconds = WINDOW_SECONDS

    def __init__(
        self, endpoint: Endpoint, languages: Sequence[str], patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.languages = languages
        self._endpoint = endpoint
        self._patience_seconds = patience_seconds
        self._breaker = Breaker()
        self._client = RemoteClient(endpoint)
        self._loop = asyncio.new_event_loop()
        self._usable = asyncio.Event()
        self._usable.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._trying: asyncio.Task[None] | None = None
        self._trial_seconds = TRIAL_SECONDS  # as long as the window that led to the trouble
        self._answered_at = self._wrote_at = 0.0  # when the last window was answered, and when the last text came
        self._taken_at = self._taken_seconds = 0.0  # when the last trial was taken, and how long it was
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
            await self._wait_until_usable(window)
            if not request.is_wanted():
                raise ModelAway("nobody waits for the window any more")
            sent = self._loop.time()
            try:
                written = await self._measured(self._client.transcribe(window.forms[0], samples))
            except Busy as error:
                window.failures += 1
                self._bear_with(error, sent, window)
            except (Failing, Misused, Refused) as error:
                if isinstance(error, Refused) and window.is_simplified():
                    continue
                window.failures += 1
                if await self._is_lost(error, sent, window):
                    return self._left_out(error, window)
                window.forms = _forms(request)
                await asyncio.sleep(window.pause())
            else:
                if await self._is_believable(written, sent, window):
                    self._answered(written, window)
                    return written
                window.failures += 1

    async def _wait_until_usable(self, window: _Window) -> None:
        """Waits while the model is in trouble or its server is busy. Raises ModelAway if that takes too long.

        A window that has not failed yet has patience from now on.
        """
        began = window.began if window.failures else self._loop.time()
        while self._loop.time() - window.began < LONGEST_PATIENCE * self._patience_seconds:
            left = self._patience_seconds - (self._loop.time() - began)
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._usable.wait()
            except TimeoutError:
                raise self._away() from None
            busy = self._breaker.wait(self._loop.time())
            if not busy:
                return
            await asyncio.sleep(busy * _spread())
        raise self._away()

    def _away(self) -> ModelAway:
        return ModelAway(f"{self._endpoint.name}: {self._breaker.trouble or 'it is busy'}")

    def _bear_with(self, error: Busy, sent: float, window: _Window) -> None:
        """Records that the server is busy. It is in trouble if it has taken no window for long."""
        self._is_busy(error, sent, window.seconds)
        if self._loop.time() - max(window.began, self._answered_at) >= self._patience_seconds:
            self._in_trouble(str(error), window.seconds)

    def _is_busy(self, error: Busy, sent: float, seconds: float) -> None:
        """Records that the server is busy. It is in trouble if it asks for a long pause."""
        now = self._loop.time()
        self._breaker.is_busy(error.seconds, sent, now)
        if self._breaker.wait(now) >= self._patience_seconds:
            self._in_trouble(str(error), seconds)

    async def _is_lost(self, error: Failing | Misused | Refused, sent: float, window: _Window) -> bool:
        """Whether only this window fails, again and again and for long.

        One of several servers behind the same URL may be broken, and then others take the window.
        """
        now = self._loop.time()
        if isinstance(error, Failing) and self._breaker.failed(sent, now):
            self._in_trouble(str(error), window.seconds)
        is_late = now - window.began >= self._patience_seconds
        is_refused = window.failures == 1 and not isinstance(error, Failing)  # probably like all that follow
        if not (is_late or is_refused):
            return False
        return await self._takes_speech(window.seconds) and is_late and window.failures >= MOST_FAILURES

    def _left_out(self, error: Exception, window: _Window) -> Written:
        """Raises ModelAway if too many windows in a row were left out, because then the calls would have no text."""
        if self._breaker.may_lose():
            logger.warning(
                "the server of the model %s takes others, but not one window: %s", self._endpoint.name, error
            )
            return Written("", is_refused=True)
        self._in_trouble(f"it takes trials, but no windows: {error}", window.seconds, LOST_PAUSE_SECONDS)
        raise self._away()

    async def _is_believable(self, written: Written, sent: float, window: _Window) -> bool:
        """Silence is believed if the server wrote a text of other speech since the window was sent."""
        if written.text.strip():
            self._wrote_at = self._loop.time()
            return True
        if window.seconds <= SILENCE_SECONDS:
            return True
        return self._wrote_at >= sent or await self._takes_speech(window.seconds)

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
            is_known = self._taken_at >= asked and self._taken_seconds >= seconds
            return is_known or await self._takes_trial(seconds)

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
        if self._is_over(seconds):
            self._breaker.answered()
        return True

    def _answered(self, written: Written, window: _Window) -> None:
        """An answer without a text does not show that the server takes windows."""
        self._answered_at = self._loop.time()
        if self._is_over(window.seconds):
            record = self._breaker.took_window if written.text.strip() else self._breaker.answered
            record()

    def _is_over(self, seconds: float) -> bool:
        """Whether an answer ends the trouble.

        One for less speech than that which led to the trouble shows little, nor does one that was under way when the
        server asked for a pause.
        """
        if self._usable.is_set():
            return True
        if seconds < self._trial_seconds or self._breaker.wait(self._loop.time()):
            return False
        logger.info("the model %s can be used again", self._endpoint.name)
        self._trial_seconds = TRIAL_SECONDS
        self._usable.set()
        return True

    def _in_trouble(self, reason: str, seconds: float, pause: float = 0.0) -> None:
        """Lets all requests wait until a trial with so much speech succeeds. The first one begins after a pause."""
        if self._usable.is_set():
            logger.warning("the model %s cannot be used, so its jobs wait: %s", self._endpoint.name, reason)
        self._breaker.broke(reason)
        self._trial_seconds = max(self._trial_seconds, seconds)
        self._usable.clear()
        self._try_server(pause)

    def _try_server(self, pause: float = 0.0) -> None:
        if self._trying is None or self._trying.done():
            self._trying = self._loop.create_task(self._kept(self._try_until_it_answers(pause)))

    async def _try_until_it_answers(self, pause: float) -> None:
        """The first trial, at the start, also ends if the server is busy, because windows will show the rest."""
        await asyncio.sleep(max(pause, self._breaker.wait(self._loop.time())))
        while not await self._takes_trial(self._trial_seconds) or not self._usable.is_set():
            busy = self._breaker.wait(self._loop.time())
            if self._usable.is_set() and busy:
                return
            await asyncio.sleep(max(busy, self._breaker.trial_failed()))
