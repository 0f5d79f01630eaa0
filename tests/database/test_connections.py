"""Database connections over a network that fails."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import make_url, text

from app.database import connecting, connections
from app.database.connections import DATABASE_TROUBLE, Database, is_absence
from testing.rows import enqueue

# ErrorResponse, as a server sends it to a session that it ends.
GOODBYE_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
GOODBYE = b"E" + (4 + len(GOODBYE_FIELDS)).to_bytes(4, "big") + GOODBYE_FIELDS


class FaultyRelay:
    """Relays to a PostgreSQL on a Unix socket. Connections that are open while it is mute carry nothing any more."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._lost: set[int] = set()
        self._clients: list[asyncio.StreamWriter] = []
        self._mute = False

    def fall_silent(self) -> None:
        """Carry nothing more on the connections that are open now or are opened before `speak_again`."""
        self._mute = True
        self._lost.update(range(len(self._clients)))

    def speak_again(self) -> None:
        self._mute = False

    def say_goodbye(self) -> None:
        """Send all clients the message that ends their session, but leave the connections open."""
        for writer in self._clients:
            writer.write(GOODBYE)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self._clients)
        self._clients.append(writer)
        if self._mute:
            self._lost.add(number)
        server_reader, server_writer = await asyncio.open_unix_connection(self._socket_path)
        ways = [self._copy(number, reader, server_writer), self._copy(number, server_reader, writer)]
        try:
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            for each in (writer, server_writer):
                each.transport.abort()

    async def _copy(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            if number not in self._lost:
                writer.write(piece)
        writer.transport.abort()


@asynccontextmanager
async def relayed(address: str) -> AsyncIterator[tuple[str, FaultyRelay]]:
    """The address of a relay to the database at `address`, and the relay."""
    url = make_url(address)
    relay = FaultyRelay(f"{url.query['host']}/.s.PGSQL.{url.port or 5432}")
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    there = url.set(host="127.0.0.1", port=port).difference_update_query(["host", "port"])
    try:
        yield there.render_as_string(hide_password=False), relay
    finally:
        server.close()


async def ask(database: Database, statement: str = "SELECT 1", before: Callable[[], None] = lambda: None) -> None:
    """Run `statement` in a transaction, after a first statement and a call of `before`."""
    async with database.transaction() as session:
        await session.exec(text("SELECT 1"))  # type: ignore[call-overload]
        before()
        await asyncio.sleep(0.05)  # whatever `before` sent has arrived by then
        await session.exec(text(statement))  # type: ignore[call-overload]


async def test_connections_that_fall_silent_are_replaced_immediately(database: Database) -> None:
    address = database.address.text
    async with relayed(address) as (there, relay):
        through = Database(there, statement_seconds=0.5)
        await asyncio.gather(*(ask(through, "SELECT pg_sleep(0.1)") for _ in range(2)))
        async with asyncio.timeout(20):
            with pytest.raises(TimeoutError) as silence:
                await ask(through, "SELECT 1", relay.fall_silent)
            assert isinstance(silence.value, DATABASE_TROUBLE)
            relay.speak_again()
            await asyncio.gather(*(ask(through) for _ in range(2)))
        await through.close()


async def test_an_idle_connection_that_fell_silent_is_replaced_before_it_is_used(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.5)
    address = database.address.text
    async with relayed(address) as (there, relay):
        through = Database(there)
        await asyncio.gather(*(ask(through, "SELECT pg_sleep(0.1)") for _ in range(2)))
        relay.fall_silent()
        relay.speak_again()
        async with asyncio.timeout(20):
            for _ in range(3):
                await ask(through)
        await through.close()


async def test_a_session_that_the_server_has_ended_is_replaced_immediately(database: Database) -> None:
    address = database.address.text
    async with relayed(address) as (there, relay):
        through = Database(there)
        await asyncio.gather(*(ask(through, "SELECT pg_sleep(0.1)") for _ in range(2)))
        async with asyncio.timeout(20):
            with pytest.raises(DATABASE_TROUBLE) as ended:
                await ask(through, "SELECT 1", relay.say_goodbye)
            assert is_absence(ended.value)
            for _ in range(3):
                await ask(through)
            relay.say_goodbye()
            await asyncio.sleep(0.05)
            for _ in range(3):
                await ask(through)
        await through.close()


async def test_the_server_frees_the_rows_of_a_process_that_stopped_in_the_middle_of_a_statement(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sees a client that prepares a statement and then sends nothing more."""
    monkeypatch.setattr(connecting, "FROZEN_SECONDS", 0.1)
    job = await enqueue(database)
    locked = text("SELECT id FROM transcription WHERE id = :id FOR UPDATE").bindparams(id=job.id)
    address = database.address.text

    async def lock_and_stop(found: list[object]) -> None:
        stopped = Database(address, statement_seconds=1.9)
        try:
            async with stopped.engine.connect() as connection:
                await connection.execute(locked)
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None
                await driver.prepare("SELECT count(*) FROM transcription")
                async with asyncio.timeout(10), database.engine.begin() as other:
                    found.append((await other.execute(locked)).scalar_one())
        finally:
            await stopped.close()

    found = list[object]()
    with pytest.raises(DATABASE_TROUBLE) as ended:  # the process learns of it when it continues
        await lock_and_stop(found)
    assert is_absence(ended.value)
    assert found == [job.id]
