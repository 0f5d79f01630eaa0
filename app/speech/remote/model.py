"""A model of another server, as a `TextModel`: repeats requests, notices trouble, and tries the server until it ends.

Everything runs on the event loop of one thread, so nothing here needs a lock. The threads of the engine wait for it.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace
from threading import Thread
from typing import Any, TypeVar

from app import metrics
from app.audio.known_speech import known_speech
from app.speech.endpoints import Endpoint
from app.speech.model import ModelAway, Samples, TextRequest, Written
from app.speech.remote.breaker import Breaker
from app.speech.remote.client import TRIAL_SECONDS, Busy, Failing, Misused, Refused, RemoteClient

WINDOW_SECONDS = 28
PATIENCE_SECONDS = 60.0  # for a window, until its job returns to the queue
MOST_FAILURES = 4  # of one window, after which it is given up if the server takes others
logger = logging.getLogger(__name__)
Result = TypeVar("Result")


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
        self._loop = asyncio.new_event_loop()
        self._usable = asyncio.Event()
        self._usable.set()
        self._trying: asyncio.Task[None] | None = None
        self._client: RemoteClient | None = None
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
        with suppress(RuntimeError):  # the loop is closed already
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
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise ModelAway("the service ends") from None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._client = RemoteClient(self._endpoint)
        try:
            self._loop.run_forever()
        finally:
            while tasks := asyncio.all_tasks(self._loop):  # a task that ends may begin others
                for task in tasks:
                    task.cancel()
                self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            with suppress(OSError, RuntimeError):
                self._loop.run_until_complete(self._client.close())
            self._loop.close()

    async def _written(self, request: TextRequest, samples: Samples) -> Written:
        """Repeats the request while the server fails or is busy. Gives a window up only if the server takes others."""
        began = self._loop.time()
        failures, original = 0, request
        simpler = [replace(request, prompt="", hotwords=()), replace(request, prompt="", hotwords=(), language="")]
        while True:
            await self._wait_until_usable(began if failures else self._loop.time())
            try:
                written = await self._request(request, samples)
            except Refused as refused:
                failures += 1
                simpler = [form for form in simpler if form != request]
                if simpler:
                    request = simpler[0]
                elif await self._takes_others():
                    return self._given_up(refused)
                else:
                    request = original
            except Misused as error:
                self._in_trouble(str(error))
            except Busy as error:
                failures += 1
                self._breaker.is_busy(error.seconds, self._loop.time())
                if self._is_late(began):
                    self._in_trouble(str(error))
            except Failing as error:
                failures += 1
                pause = self._breaker.failed(str(error))
                if failures >= MOST_FAILURES and self._is_late(began) and await self._takes_others():
                    return self._given_up(error)
                if self._breaker.trouble is not None:
                    self._in_trouble(str(error))
                await asyncio.sleep(pause)
            else:
                self._answered()
                return written

    async def _wait_until_usable(self, began: float) -> None:
        """Waits while the model is in trouble or its server is busy. Raises ModelAway after PATIENCE_SECONDS."""
        left = self._patience_seconds - (self._loop.time() - began)
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self._usable.wait()
        except TimeoutError:
            raise ModelAway(f"{self._endpoint.name}: {self._breaker.trouble}") from None
        await asyncio.sleep(self._breaker.wait(self._loop.time()))

    def _is_late(self, began: float) -> bool:
        return self._loop.time() - began >= self._patience_seconds

    def _given_up(self, error: Exception) -> Written:
        logger.warning("the server of the model %s takes other windows, but not one: %s", self._endpoint.name, error)
        return Written("", is_refused=True)

    async def _request(self, request: TextRequest, samples: Samples) -> Written:
        assert self._client is not None
        began, result = self._loop.time(), "failed"
        try:
            written = await self._client.transcribe(request, samples)
            result = "answered"
        except Busy:
            result = "busy"
            raise
        except Refused:
            result = "refused"
            raise
        else:
            return written
        finally:
            metrics.remote_requested(self._endpoint.name, result, self._loop.time() - began)

    async def _takes_others(self) -> bool:
        """Whether the server takes speech that is known to be good, so that the trouble is that of one window."""
        try:
            await self._trial()
        except (Failing, Misused, Busy, Refused) as error:
            self._in_trouble(str(error))
            return False
        else:
            self._answered()
            return True

    async def _trial(self) -> None:
        await self._request(TextRequest("en"), known_speech(TRIAL_SECONDS))

    def _answered(self) -> None:
        self._breaker.answered()
        self._usable.set()

    def _in_trouble(self, reason: str) -> None:
        """Lets all requests wait until a trial succeeds."""
        if self._usable.is_set():
            logger.warning("the model %s cannot be used, so its jobs wait: %s", self._endpoint.name, reason)
        self._breaker.broke(reason)
        self._usable.clear()
        self._try_server()

    def _try_server(self) -> None:
        if self._trying is None or self._trying.done():
            self._trying = self._loop.create_task(self._try_until_it_answers())

    async def _try_until_it_answers(self) -> None:
        while True:
            try:
                await self._trial()
            except (Failing, Misused, Busy, Refused) as error:
                self._in_trouble(str(error))
                await asyncio.sleep(self._breaker.trial_failed())
            else:
                if not self._usable.is_set():
                    logger.info("the model %s can be used again", self._endpoint.name)
                self._answered()
                return
