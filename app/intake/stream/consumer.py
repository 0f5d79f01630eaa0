"""Takes the entries of a Redis stream and makes a job of each. It is a way in like HTTP, and ends in `Intake.accept`.

An entry is acknowledged after its job is committed, and its id is the idempotency key. So whatever dies in between, an
entry becomes exactly one job. Entries are settled one after the other in their order. While the queue is full or the
database is away, the stream waits, and this process holds only the few entries that it has read.
"""

import asyncio
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from typing import NoReturn

import structlog

from app import tracing
from app.access.callers import EVERY_SCOPE, Caller
from app.database.connections import DATABASE_TROUBLE, is_bad_data
from app.errors import AppError, InsufficientStorage, IntakePaused, InternalError, QueueFull, ShuttingDown, Unavailable
from app.intake.intake import Intake
from app.intake.stream.entries import Entry, rejection, request_of
from app.intake.stream.group import ConsumerGroup, Delivered
from app.network.redis_server import RedisServer
from app.network.redis_trouble import GroupMissing, RedisTrouble
from app.process.tasks import run_unless, within

STREAM = Caller("stream", scopes=EVERY_SCOPE)
BATCH = 10
WAIT_MILLISECONDS = 1000
IDLE_SECONDS = 60.0  # longer than an accept takes, unless the database is in trouble
KEEP_SECONDS = 15.0
LOOK_SECONDS = 10.0
PAUSES_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
MOST_DELIVERIES = 10  # a process that is killed for other reasons adds to the count of an entry that it works on
GIVEN_UP = f"The service failed at this entry {MOST_DELIVERIES} times. Its log says why."
TEMPORARY = (QueueFull, Unavailable, ShuttingDown, InsufficientStorage, IntakePaused)

log = structlog.stdlib.get_logger("callscribe.stream")


class _Later(Exception):
    """The entry cannot be accepted now, but later."""


class _Closing(Exception):
    pass


def open_consumer(server: RedisServer, stream: str, intake: Intake) -> "StreamConsumer":
    """Returns a consumer whose name no other process has, now or later."""
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    return StreamConsumer(ConsumerGroup(server, stream, name, idle_seconds=IDLE_SECONDS), intake)


class StreamConsumer:
    """Settles the entries that `group` gives to this process: each becomes a job, or is refused with its problem.

    An entry that raises an unexpected error is left pending, so that it is delivered again after a while. The same
    happens if it ends the process. After MOST_DELIVERIES deliveries it is refused, so that it holds no other back.
    """

    def __init__(
        self, group: ConsumerGroup, intake: Intake, *, pauses_seconds: Sequence[float] = PAUSES_SECONDS
    ) -> None:
        self._group = group
        self._intake = intake
        self._pauses_seconds = pauses_seconds
        self._pauses = self._growing_pauses()
        self._look_again_at = self._kept_at = 0.0
        self._closing = asyncio.Event()
        self._given_up = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(self) -> None:
        """Take entries until `drain` is called. Trouble with Redis or the database only delays this."""
        self._ended.clear()
        try:
            with suppress(_Closing):
                await run_unless(_closing(self._given_up), self._work())
        finally:
            self._ended.set()

    async def drain(self, grace_seconds: float) -> None:
        """Read no more entries, and settle those that were read, within `grace_seconds`. Leave the others."""
        self._closing.set()
        with suppress(TimeoutError):
            await within(grace_seconds, self.idle())
        self._given_up.set()

    async def idle(self) -> None:
        await self._ended.wait()

    async def _work(self) -> None:
        while not self._closing.is_set():
            try:
                await self._follow()
            except GroupMissing:
                log.warning("the stream's group is missing and is made again", stream=self._group.stream)
            except RedisTrouble:  # `app.network.redis_server` logs it
                pass
            await self._closes_within(next(self._pauses))
        await self._group.leave()

    async def _follow(self) -> None:
        """Take entries until `drain` is called. Raises RedisTrouble if none can be read."""
        await self._group.ensure()
        while not self._closing.is_set():
            entries = await self._next()
            self._pauses = self._growing_pauses()
            await self._settle_all(entries)

    async def _next(self) -> Sequence[Delivered]:
        """What other consumers have left comes first, because it is older."""
        now = time.monotonic()
        if now >= self._look_again_at:
            if (left := await self._group.take_over()) is not None:
                return [left]
            await self._group.remove_dead()
            self._look_again_at = now + LOOK_SECONDS
        with suppress(_Closing):
            return await run_unless(_closing(self._closing), self._group.read_new(BATCH, WAIT_MILLISECONDS))
        return []

    async def _settle_all(self, entries: Sequence[Delivered]) -> None:
        self._kept_at = time.monotonic()
        held = deque(entries)
        while held and await self._settle(held):
            held.popleft()
        if held:
            with suppress(RedisTrouble):  # another consumer takes them over later
                await self._group.release(held)

    async def _settle(self, held: Sequence[Delivered]) -> bool:
        """Settle the first of these entries. Returns False if it has to be left, because this process stops."""
        first = held[0]
        for seconds in self._growing_pauses():
            try:
                if time.monotonic() > self._kept_at + KEEP_SECONDS:
                    await self._keep(held)
                await self._accept_or_reject(first)
            except GroupMissing:  # if the stream still has the entry, the new group gives it to a consumer again
                return True
            except RedisTrouble:
                pass
            except _Later as why:
                log.warning("an entry waits", entry=first.entry.id, reason=str(why), seconds=seconds)
                await self._keep(held)
            except Exception:
                log.exception("an entry could not be settled, and comes again", entry=first.entry.id)
                return True
            else:
                return True
            if await self._closes_within(seconds):
                return False
        return False

    async def _keep(self, held: Sequence[Delivered]) -> None:
        with suppress(RedisTrouble):  # an entry that two consumers accept becomes one job
            await self._group.keep(held)
        self._kept_at = time.monotonic()

    async def _accept_or_reject(self, delivered: Delivered) -> None:
        entry = delivered.entry
        problem = await (self._accept(entry) if delivered.deliveries <= MOST_DELIVERIES else self._give_up(entry))
        if problem is None:
            await self._group.acknowledge(entry)
            return
        await self._group.reject(entry, rejection(self._group.stream, entry, problem))
        log.warning("an entry was refused", entry=entry.id, code=problem.code, reason=problem.reason)

    async def _accept(self, entry: Entry) -> AppError | None:
        """Make a job of the entry, or find the job that it has become before. Returns why it is refused for good."""
        parent = tracing.of_client(entry.traceparent)
        try:
            asked = request_of(entry)
            with tracing.span("receive message", parent, tracing.SpanKind.CONSUMER) as span:
                with _database_trouble_as_later():
                    accepted = await self._intake.accept(asked.recording(), asked.ask(), STREAM, self._key_of(entry))
                tracing.describe(span, callscribe__job__id=str(accepted.job.id))
        except TEMPORARY as error:
            raise _Later(error.reason) from error
        except AppError as error:
            return error
        log.info("an entry was accepted", entry=entry.id, job=str(accepted.job.id), is_new=accepted.is_new)
        return None

    async def _give_up(self, entry: Entry) -> AppError | None:
        """Refuse the entry without looking into it, unless it is a job and only its acknowledgement is missing."""
        with _database_trouble_as_later():
            is_job = await self._intake.knows(STREAM, self._key_of(entry))
        return None if is_job else InternalError(GIVEN_UP)

    def _key_of(self, entry: Entry) -> str:
        return f"{self._group.stream}:{entry.id}"

    def _growing_pauses(self) -> Iterator[float]:
        return chain(self._pauses_seconds, repeat(self._pauses_seconds[-1]))

    async def _closes_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await within(seconds, self._closing.wait())
        return self._closing.is_set()


async def _closing(event: asyncio.Event) -> NoReturn:
    await event.wait()
    raise _Closing


@contextmanager
def _database_trouble_as_later() -> Iterator[None]:
    try:
        yield
    except DATABASE_TROUBLE as error:
        if is_bad_data(error):
            raise
        raise _Later(f"the database is in trouble: {type(error).__name__}") from error
