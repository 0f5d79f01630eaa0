"""The loop of a worker on a table of the database: it claims rows, works on each, and records how the work ended.

Jobs and deliveries both go through this loop. Their own modules say what a claim, the work and its record are. The loop
keeps no transaction open while work is under way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import structlog

from app.database.notifications import Signals
from app.database.retries import despite_database_trouble
from app.process.tasks import within

POLL_SECONDS = 2.0

Item = TypeVar("Item")
Result = TypeVar("Result")

log = structlog.stdlib.get_logger("callscribe.work")


class _Attempt(Generic[Result]):
    """The work on one item. If it is stopped before it ends, the result of `stop` replaces its own."""

    def __init__(self, work: Coroutine[Any, Any, Result]) -> None:
        self._work = asyncio.create_task(work)
        self._stopped = False
        self._result: Result | None = None

    def stop(self, result: Result | None) -> None:
        if not (self._stopped or self._work.done()):
            self._stopped, self._result = True, result
            self._work.cancel()

    async def end(self) -> Result | Exception | None:
        """Wait for the end of the work. Returns its result or its exception, or the result that `stop` gave it."""
        own: Result | Exception | None = None
        try:
            own = await self._work
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        except Exception as error:  # noqa: BLE001  its record says what it means
            own = error
        return self._result if self._stopped else own


class WorkLoop(Generic[Item, Result]):
    """Claims items and works on all of them at the same time.

    `claim` returns the items that this process can take now. It may look at `running` to limit them. The loop calls it
    when `topic` is notified, when an item has ended, and every POLL_SECONDS, because a notification may be lost. If
    `claim` raises DATABASE_TROUBLE, the loop logs it and claims again later. Any other exception ends `work`.

    `run` works on one item, and the loop may stop it. `record` gets what `run` returned or raised, or the result that
    `stop` was called with. None means that the item has to be given back. The loop never stops `record`.

    The loop keeps no leases. `claim` has to mark its items with a lease that ends by itself, so that other processes
    leave them alone, but can claim them after this process crashed. `record` has to write the end only while the lease
    holds, and has to count the attempts. If `record` raises, the loop logs that, and the item can be claimed again when
    its lease has ended.

    Items must be hashable, and differ from those that are running. Each has tasks of its own, so that what `run` and
    `record` bind to the log's context belongs to that item.
    """

    def __init__(
        self,
        signals: Signals,
        topic: str,
        *,
        claim: Callable[[], Awaitable[Iterable[Item]]],
        run: Callable[[Item], Coroutine[Any, Any, Result]],
        record: Callable[[Item, Result | Exception | None], Awaitable[None]],
    ) -> None:
        self._signals = signals
        self._topic = topic
        self._claim = claim
        self._run = run
        self._record = record
        self._attempts: dict[Item, _Attempt[Result]] = {}
        self._recording: set[asyncio.Task[None]] = set()
        self._claiming = asyncio.Lock()
        self._closed = False

    @property
    def running(self) -> list[Item]:
        """The items that this loop has claimed and whose end it has not recorded yet."""
        return list(self._attempts)

    async def work(self) -> None:
        """Claim and work until `close` or `drain` is called. Returns when no item is running any more."""
        with self._signals.subscribe(self._topic) as notified:
            while not self._closed:
                notified.clear()
                async with self._claiming:
                    await despite_database_trouble(self._claim_and_start)
                with suppress(TimeoutError):
                    await within(POLL_SECONDS, notified.wait())
        await self.idle()

    def close(self) -> None:
        """Claim no more items."""
        self._closed = True
        self._signals.wake(self._topic)

    async def drain(self, grace_seconds: float) -> None:
        """Claim no more items, wait up to `grace_seconds` for those that are running, then stop the others.

        This does not wait until `record` has given back the stopped ones, which takes the database. `idle` does.
        """
        self.close()
        with suppress(TimeoutError):
            await within(grace_seconds, self.idle())
        for attempt in self._attempts.values():
            attempt.stop(None)

    async def idle(self) -> None:
        """Wait until no item is running and no claim is under way. There is no limit on this wait."""
        async with self._claiming:
            pass
        while self._recording:
            await asyncio.wait(self._recording)

    def stop(self, item: Item, result: Result | None) -> None:
        """End the work on an item, with this result. This has no effect if the work has ended or was stopped before."""
        if item in self._attempts:
            self._attempts[item].stop(result)

    async def _claim_and_start(self) -> None:
        for item in await self._claim():
            self._start(item)

    def _start(self, item: Item) -> None:
        attempt = self._attempts[item] = _Attempt(self._run(item))
        recording = asyncio.create_task(self._record_end(item, attempt))
        self._recording.add(recording)
        recording.add_done_callback(lambda task: self._ended(item, task))
        if self._closed:  # it was closed while the claim was under way
            attempt.stop(None)

    async def _record_end(self, item: Item, attempt: _Attempt[Result]) -> None:
        ended = await attempt.end()
        try:
            await self._record(item, ended)
        except Exception:
            log.exception("the end of claimed work could not be recorded", topic=self._topic)

    def _ended(self, item: Item, recording: asyncio.Task[None]) -> None:
        self._recording.discard(recording)
        del self._attempts[item]
        self._signals.wake(self._topic)
