"""Sends commands to a Redis server, and knows whether the server can be used.

It is the one module that knows the Redis library. The server belongs to the operator, so the network guard does not
check it. A server that is away or slow delays only those who wait for its answer. Which commands are sent, and what
their replies mean, belongs to the callers.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from redis import exceptions
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.network.guard import causes
from app.network.redis_address import RedisAddress

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 8.0  # longer than any command here blocks
WATCH_SECONDS = 5.0
MOST_CONNECTIONS = 16
GROUP_IS_MISSING = ("NOGROUP", "UNBLOCKED")  # the second one comes if the stream is deleted during a blocking read
GROUP_EXISTS = "BUSYGROUP"

log = structlog.stdlib.get_logger("callscribe.redis")


class RedisTrouble(Exception):
    """A command got no answer, or an error as its answer. The same command may succeed later.

    `word` is `timeout`, `connection_failed`, `tls_failed` or `redis_refused`. The text has no secret and no content.
    """

    def __init__(self, word: str, text: str) -> None:
        super().__init__(text)
        self.word = word


class GroupMissing(RedisTrouble):
    """The stream or its consumer group does not exist any more, because the server has lost its data."""


class GroupExists(RedisTrouble):
    """The consumer group is there already."""


class RedisServer:
    """A few connections to one server, which are opened when they are needed. Nothing is sent twice by itself."""

    def __init__(
        self, address: RedisAddress, *, connect_seconds: float = CONNECT_SECONDS, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self.address = address
        self._client = Redis.from_pool(_pool(address, connect_seconds, answer_seconds))  # it closes the pool with it
        self._client.response_callbacks.clear()  # callers read the replies as the server sends them
        self._unreachable: str | None = None
        self._refused: dict[str, str] = {}

    @property
    def trouble(self) -> str | None:
        """Why the server cannot be used at the moment, or a command that it refuses. None if all is well."""
        return self._unreachable or next(iter(self._refused.values()), None)

    async def command(self, name: str, *arguments: str | bytes | int) -> Any:
        """Send one command, and return the reply as the server sends it: bytes, numbers, lists of them, or None.

        Raises RedisTrouble.
        """
        before = self.trouble
        try:
            reply = await self._client.execute_command(name, *arguments)  # type: ignore[no-untyped-call]
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            trouble = _trouble(name, error)
            if isinstance(trouble, (GroupMissing, GroupExists)):  # the server is well, and the caller expects this
                self._unreachable = None
            elif trouble.word == "redis_refused":
                self._unreachable = None
                self._refused[name] = str(trouble)
            else:
                self._unreachable = str(trouble)
            self._log_change(before)
            raise trouble from None
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
        await self._client.aclose()

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


def _pool(address: RedisAddress, connect_seconds: float, answer_seconds: float) -> ConnectionPool:
    tls: dict[str, Any] = {}
    if address.encrypted:
        ca_file = str(address.ca_file) if address.ca_file else None
        tls = {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": ca_file}
    return ConnectionPool(
        connection_class=SSLConnection if address.encrypted else Connection,
        max_connections=MOST_CONNECTIONS,
        host=address.host,
        port=address.port,
        db=address.database,
        username=address.user,
        password=address.password,
        socket_connect_timeout=connect_seconds,
        socket_timeout=answer_seconds,
        socket_keepalive=True,
        client_name="callscribe",
        protocol=2,
        retry=Retry(NoBackoff(), 0),  # the library would repeat a command by itself, also one that adds an entry
        **tls,
    )


def _trouble(command: str, error: Exception) -> RedisTrouble:
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return RedisTrouble("timeout", "it does not answer in time")
    if any(isinstance(cause, ssl.SSLError) for cause in causes(error)):
        return RedisTrouble("tls_failed", "its certificate is not trusted, or it does not speak TLS")
    if isinstance(error, (exceptions.AuthenticationError, exceptions.AuthorizationError)):
        return RedisTrouble("redis_refused", "it refuses the user or the password")
    if isinstance(error, exceptions.ResponseError):
        reason = _reason(error)
        return _kind(reason)("redis_refused", f"it refuses {command}: {reason}")
    if isinstance(error, exceptions.BusyLoadingError):
        return RedisTrouble("connection_failed", "it is loading its data")
    return RedisTrouble("connection_failed", "it cannot be reached")


def _kind(reason: str) -> type[RedisTrouble]:
    if reason.startswith(GROUP_IS_MISSING):
        return GroupMissing
    return GroupExists if reason.startswith(GROUP_EXISTS) else RedisTrouble


def _reason(error: Exception) -> str:
    """The server's words, without the arguments of the command, which may be content."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].partition(", with args")[0][:200]
