"""The consumer group of the stream: which entries this process gets, and how it settles them.

Redis keeps an entry as pending from the moment when it gives the entry to a consumer until the entry is acknowledged.
So an entry whose consumer died is still there, and another consumer takes it over. A consumer name belongs to one
process. What an entry means belongs to `entries`.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from app.intake.stream.entries import Entry
from app.intake.stream.names import GROUP, rejected_stream
from app.network.redis_server import RedisServer
from app.network.redis_trouble import GroupExists, RedisTrouble

MOST_REJECTED = 10_000  # entries that the stream of refused ones keeps, about
DEAD_SECONDS = 600  # a consumer that lives asks for entries every second
# Nothing is lost if the process or the server dies in between, and nothing is written twice if the reply is lost.
REJECT = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 1 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4))
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
end
"""
# Redis forgets the pending entries of a consumer that is removed, so it may only be removed if it has none.
REMOVE_CONSUMER = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
"""

log = structlog.stdlib.get_logger("callscribe.stream")


@dataclass(frozen=True)
class Delivered:
    """An entry that this process has to settle. `deliveries` counts how often a consumer got it, this time included."""

    entry: Entry
    deliveries: int = 1


class ConsumerGroup:
    """The group, as the consumer with this name sees it. All methods raise RedisTrouble.

    An entry that was given to a consumer `idle_seconds` ago and is not settled is taken over.
    """

    def __init__(self, server: RedisServer, stream: str, consumer: str, *, idle_seconds: float) -> None:
        self.stream = stream
        self.rejected = rejected_stream(stream)
        self._command = server.command
        self._consumer = consumer
        self._idle_milliseconds = round(idle_seconds * 1000)

    async def ensure(self) -> None:
        """Make the group, and the stream, if they do not exist. The group begins with the first entry."""
        with suppress(GroupExists):
            await self._command("XGROUP", "CREATE", self.stream, GROUP, "0", "MKSTREAM")

    async def read_new(self, count: int, wait_milliseconds: int) -> list[Delivered]:
        """Returns up to `count` entries that no consumer has got yet, the oldest first. Waits if there is none."""
        options = ("COUNT", count, "BLOCK", wait_milliseconds, "STREAMS", self.stream, ">")
        reply = await self._command("XREADGROUP", "GROUP", GROUP, self._consumer, *options)
        return [Delivered(_entry(raw)) for _, entries in reply or () for raw in entries]

    async def take_over(self) -> Delivered | None:
        """Take over the oldest entry that a consumer has left. Returns None if there is none.

        It takes only one, because each take-over counts as a delivery, and too many deliveries end an entry.
        """
        cursor = b"0-0"
        while True:
            claim = ("XAUTOCLAIM", self.stream, GROUP, self._consumer, self._idle_milliseconds, cursor, "COUNT", 1)
            cursor, entries, *more = await self._command(*claim)
            if more and more[0]:
                log.error("entries were trimmed from the stream before they were accepted", entries=len(more[0]))
            for raw in filter(None, entries):
                entry = _entry(raw)
                [*pending] = await self._command("XPENDING", self.stream, GROUP, entry.id, entry.id, 1)
                return Delivered(entry, pending[0][3] if pending else 1)
            if cursor == b"0-0":
                return None

    async def keep(self, entries: Sequence[Delivered]) -> None:
        """Keep other consumers from taking these entries over, because this process still works on them.

        Their deliveries are counted from the beginning, because it is not their fault that they are not settled yet.
        """
        await self._hold(entries, idle_milliseconds=0)

    async def release(self, entries: Sequence[Delivered]) -> None:
        """Let other consumers take these entries over at once, because this process stops."""
        await self._hold(entries, idle_milliseconds=self._idle_milliseconds)

    async def _hold(self, entries: Sequence[Delivered], *, idle_milliseconds: int) -> None:
        ids = [delivered.entry.id for delivered in entries]
        options = ("IDLE", idle_milliseconds, "RETRYCOUNT", 0, "JUSTID")
        await self._command("XCLAIM", self.stream, GROUP, self._consumer, 0, *ids, *options)

    async def acknowledge(self, entry: Entry) -> None:
        await self._command("XACK", self.stream, GROUP, entry.id)

    async def reject(self, entry: Entry, fields: Sequence[tuple[str, str]]) -> None:
        """Write `fields` into the stream of refused entries, and acknowledge the entry. Both happen, or neither."""
        flat = [text for pair in fields for text in pair]
        await self._command("EVAL", REJECT, 2, self.stream, self.rejected, GROUP, entry.id, MOST_REJECTED, *flat)

    async def remove_dead(self) -> None:
        """Remove the consumers of processes that have ended, if nothing of theirs is left to take over."""
        for raw in await self._command("XINFO", "CONSUMERS", self.stream, GROUP):
            consumer = dict(zip(raw[::2], raw[1::2], strict=True))
            if consumer[b"pending"] == 0 and consumer[b"idle"] > DEAD_SECONDS * 1000:
                await self._remove(consumer[b"name"])

    async def leave(self) -> None:
        """Remove this consumer, unless it has entries that another one has to take over."""
        with suppress(RedisTrouble):  # another process removes it later
            await self._remove(self._consumer)

    async def _remove(self, consumer: str | bytes) -> None:
        await self._command("EVAL", REMOVE_CONSUMER, 1, self.stream, GROUP, consumer)


def _entry(raw: Any) -> Entry:
    entry_id, fields = raw
    return Entry(entry_id.decode(), list(zip(fields[::2], fields[1::2], strict=True)))
