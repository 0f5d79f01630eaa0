"""A server whose answers never end and contain nothing useful. The path of a request chooses the kind of answer.

`python -m testing.endless_answers` prints its port and serves until it is killed. It is a separate process, so that its
CPU time does not slow down the scenario.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

PIECE_BYTES = 64 * 1024
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

ENDLESS: Mapping[str, tuple[bytes, bytes]] = {
    "early": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "headers": (HEAD, b"a:\r\n"),
    "header": (HEAD + b"a: ", b"a" * 1024),
    "chunks": (CHUNKED, b"1\r\na\r\n"),
    "extensions": (CHUNKED, b"1;" + b"a" * 4096 + b"\r\na\r\n"),
    "extension": (CHUNKED + b"1;", b"a" * 1024),
    "trailers": (CHUNKED + b"0\r\n", b"a:\r\n"),
    "spaces": (HEAD + b"a:" + b" " * 60_000 + b"\0\r\n\r\n", b"a"),  # slow for a parser that uses regular expressions
    "blocks": (CHUNKED, b"8\r\naaaaaaaa\r\n"),
}
"""By kind: the bytes sent first, and the bytes sent again and again after them."""


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        request = await reader.readuntil(b"\r\n\r\n")
        path = request.split(b" ", 2)[1].decode().partition("?")[0]
        first, again = ENDLESS[path.rpartition("/")[2]]
        writer.write(first)
        piece = again * max(1, PIECE_BYTES // len(again))
        while True:
            writer.write(piece)
            await writer.drain()
    writer.transport.abort()


async def main() -> None:
    server = await asyncio.start_server(_answer, "0.0.0.0")
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
