"""Runs thousands of clients that want too much. Their own process keeps them from slowing down the scenario.

    python -m proofs.chaos.crowd KIND PORT COUNT [ID …]

silent   connect and send nothing
unread   request a large file many times and read no answer
ready    request `/readyz` again after each answer
wait     wait for the jobs ID with one key; ask again after `Retry-After`

The clients run until the process is killed. If the server closes a connection, the client connects again.
"""

import argparse
import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import uvloop

from app.process.open_files import raise_limit
from proofs.chaos.load import KEYS

NETWORKS = {"silent": 10, "unread": 20, "ready": 30, "wait": 40}  # the clients of a kind have addresses in 127.0.N.*
CLIENTS_PER_ADDRESS = 500
RECONNECT_SECONDS = 0.5
CONNECTS_A_SECOND = 1000
PIPELINED = 16
HOST = "Host: localhost\r\n"
LARGE = f"GET /docs/static/swagger-ui-bundle.js HTTP/1.1\r\n{HOST}\r\n".encode()
READY = f"GET /readyz HTTP/1.1\r\n{HOST}\r\n".encode()
KEY = f"Authorization: Bearer {KEYS['greedy']}\r\n"
FROM_ONE_ADDRESS = ("silent",)

Client = Callable[[socket.socket], Awaitable[None]]


async def silent(connection: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(connection, 1024):
        pass


async def unread(connection: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, LARGE * PIPELINED)
    while not connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        await asyncio.sleep(RECONNECT_SECONDS)


async def ready(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    while True:
        writer.write(READY)
        await _answer(reader)


def waiting(ids: Sequence[str]) -> Client:
    async def wait(connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        while True:
            path = f"/v1/transcriptions/{ids[id(connection) % len(ids)]}?wait=60"
            writer.write(f"GET {path} HTTP/1.1\r\n{HOST}{KEY}\r\n".encode())
            headers = await _answer(reader)
            await asyncio.sleep(float(headers.get("retry-after", 0)))

    return wait


async def _answer(reader: asyncio.StreamReader) -> dict[str, str]:
    """Reads the next answer and returns its headers."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    await reader.readexactly(int(headers["content-length"]))
    return headers


async def _keep_connecting(client: Client, port: int, address: str, start_seconds: float) -> None:
    await asyncio.sleep(start_seconds)
    while True:
        with suppress(OSError, asyncio.IncompleteReadError), socket.socket() as connection:
            connection.setblocking(False)
            connection.bind((address, 0))
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
            await client(connection)
        await asyncio.sleep(RECONNECT_SECONDS)


async def _crowd(kind: str, port: int, count: int, ids: Sequence[str]) -> None:
    clients: dict[str, Client] = {"silent": silent, "unread": unread, "ready": ready, "wait": waiting(ids)}
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            place = 1 if kind in FROM_ONE_ADDRESS else 1 + number // CLIENTS_PER_ADDRESS
            address = f"127.0.{NETWORKS[kind]}.{place}"
            group.create_task(_keep_connecting(clients[kind], port, address, number / CONNECTS_A_SECOND))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.chaos.crowd")
    parser.add_argument("kind", choices=sorted(NETWORKS))
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("ids", nargs="*")
    arguments = parser.parse_args()
    raise_limit()
    os.nice(19)  # clients usually have their own machines, so the service comes first on this one
    uvloop.run(_crowd(arguments.kind, arguments.port, arguments.count, arguments.ids))


if __name__ == "__main__":
    main()
