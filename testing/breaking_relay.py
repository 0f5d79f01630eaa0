"""A relay on the loopback that breaks connections in the middle of long answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PIECE_BYTES = 64 * 1024


class BreakingRelay:
    """Relays connections to `target_port`.

    It breaks the first `breaks` of them after `break_after` bytes of an answer.
    """

    def __init__(self, target_port: int, *, break_after: int, breaks: int) -> None:
        self._target_port = target_port
        self.break_after = break_after
        self.breaks_left = breaks
        self.port = 0

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
        requesting = asyncio.create_task(_copy(reader, to_server))
        try:
            with suppress(ConnectionError):
                await self._answer(from_server, writer)
        finally:
            requesting.cancel()
            await asyncio.gather(requesting, return_exceptions=True)
            for each in (writer, to_server):
                each.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0
        while piece := await reader.read(PIECE_BYTES):
            sent += len(piece)
            if sent > self.break_after and self.breaks_left > 0:
                self.breaks_left -= 1
                return
            writer.write(piece)
            await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def breaking(target_port: int, *, break_after: int, breaks: int) -> AsyncIterator[BreakingRelay]:
    """Runs a relay until the end of the block. The relay listens on its `port`."""
    relay = BreakingRelay(target_port, break_after=break_after, breaks=breaks)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(relay.relay(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
