"""Sends commands to a Redis server, and knows whether the server can be used.

The server belongs to the operator, so the network guard does not check it. A server that is away or slow delays only
those who wait for its answer. Which commands are sent, and what their replies mean, belongs to the callers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

from app.network.redis_address import RedisAddress
from app.network.redis_trouble import GroupExists, GroupMissing, RedisTrouble

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 8.0  # longer than any command here blocks
WATCH_SECONDS = 5.0

log = structlog.stdlib.get_logger("callscribe.redis")


class RedisServer:
    """A server, which may be away. `trouble` says so."""

    def __init__(
        self, address: RedisAddress, *, connect_seconds: float = CONNECT_SECONDS, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        from app.network.redis_client import RedisClient  # see there

        self.address = address
        self._client = RedisClient(address, connect_seconds, answer_seconds)
        self._unreachable: str | None = None
        self._refused: dict[str, str] = {}

    @property
    def trouble(self) -> str | None:
        """Why the server cannot be used at the moment, or a command that it refuses. None if all is well."""
        return self._unreachable or next(iter(self._refused.values()), None)

    async def command(self, name: str, *arguments: str | bytes | int) -> Any:
        """Send one command, and return the reply as the server sends it. Raises RedisTrouble."""
        before = self.trouble
        try:
            reply = await self._client.execute(name, *arguments)
        except RedisTrouble as trouble:
            if isinstance(trouble, (GroupMissing, GroupExists)):  # the server is well, and the caller expects this
                self._unreachable = None
            elif trouble.word == "redis_refused":
                self._unreachable = None
                self._refused[name] = str(trouble)
            else:
                self._unreachable = str(trouble)
            self._log_change(before)
            raise
        self._unreachable = None
        self._refused.pop(name, None)
        self._log_change(before)
        return reply

    async def watch(self) -> None:
        """Ask the server every few seconds whether it answers, until cancelled, so that `trouble` is true.

        It exists because readiness must not wait for a server that is away.
        """
        while True:
            with suppress(RedisTrouble):  # `trouble` says it
                await self.command("PING")
            await asyncio.sleep(WATCH_SECONDS)

    async def close(self) -> None:
        await self._client.close()

    def _log_change(self, before: str | None) -> None:
        now = self.trouble
        if now is not None and now != before:
            log.warning("Redis cannot be used", server=str(self.address), reason=now)
        elif now is None and before is not None:
            log.info("Redis can be used again", server=str(self.address))


@asynccontextmanager
async def open_redis(address: RedisAddress | None) -> AsyncIterator[RedisServer | None]:
    """Gives the server at `address`, which may be away, until the end of the block. Without an address, gives None."""
    if address is None:
        yield None
        return
    server = RedisServer(address)
    try:
        yield server
    finally:
        await server.close()
