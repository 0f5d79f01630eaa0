"""The channel into a Redis stream: each delivery is one entry with the event.

The stream belongs to the operator, and gets the events of all jobs. An entry may be there twice with the same `id`, if
the reply to the first one was lost.
"""

import asyncio

from app import tracing
from app.deliveries.channels import ATTEMPT_SECONDS, Outgoing, Reply, Result, Stopwatch
from app.deliveries.stream_url import stream_of
from app.network.redis_server import RedisServer
from app.network.redis_trouble import RedisTrouble


class StreamChannel:
    """Adds entries to the streams of one server. A stream keeps about `max_entries`."""

    def __init__(self, server: RedisServer, max_entries: int) -> None:
        self._server = server
        self._max_entries = max_entries

    async def send(self, delivery: Outgoing) -> Reply:
        """Add the event to the stream. The response of the reply is the id of the new entry.

        The error of the reply is a word of RedisTrouble.
        """
        attempt, result, error, response = Stopwatch(), Result.TRY_AGAIN, None, ""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                response = await self._add(delivery)
            result = Result.DELIVERED
        except RedisTrouble as trouble:
            error, response = trouble.word, str(trouble)
        except TimeoutError:
            error = "timeout"
        return attempt.reply(result, error=error, response=response)

    async def _add(self, delivery: Outgoing) -> str:
        fields = ("id", str(delivery.event_id), "type", delivery.type, "body", delivery.body)
        traced = (part for pair in tracing.headers().items() for part in pair)
        stream = stream_of(delivery.url)
        added = await self._server.command("XADD", stream, "MAXLEN", "~", self._max_entries, "*", *fields, *traced)
        return f"entry {added.decode()}"
