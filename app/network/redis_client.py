"""Adapts the Redis library: opens its client, and says what its errors mean.

It is the one module that knows the library. Only a process with a Redis server imports it, because it takes 28 MB.
"""

import ssl
from typing import Any

from redis import exceptions
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.network.guard import causes
from app.network.redis_address import RedisAddress
from app.network.redis_trouble import GroupExists, GroupMissing, RedisTrouble

MOST_CONNECTIONS = 16
GROUP_IS_MISSING = ("NOGROUP", "UNBLOCKED")  # the second one comes if the stream is deleted during a blocking read
GROUP_EXISTS = "BUSYGROUP"


class RedisClient:
    """A few connections to one server, which are opened when they are needed. Nothing is sent twice by itself."""

    def __init__(self, address: RedisAddress, connect_seconds: float, answer_seconds: float) -> None:
        self._client = Redis.from_pool(_pool(address, connect_seconds, answer_seconds))  # it closes the pool with it
        self._client.response_callbacks.clear()  # callers read the replies as the server sends them

    async def execute(self, name: str, *arguments: str | bytes | int) -> Any:
        """Send one command, and return the reply as the server sends it: bytes, numbers, lists of them, or None.

        Raises RedisTrouble.
        """
        try:
            return await self._client.execute_command(name, *arguments)  # type: ignore[no-untyped-call]
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            raise _trouble(name, error) from None

    async def close(self) -> None:
        await self._client.aclose()


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
