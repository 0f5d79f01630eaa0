"""Connections to several hosts, over TLS and through a pooler."""

import asyncio
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from app.database import connections
from app.database.connections import Database, DatabaseUnavailable, is_absence, migrate
from app.database.embedded import EmbeddedPostgres
from testing.ports import free_ports
from tests.conftest import clone

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
REQUIRED = bool(os.environ.get("NEED_POOLER"))  # set by .ci/run, so that CI cannot skip these tests
Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


def needs_pooler(test: Any) -> Any:
    return pytest.mark.slow(pytest.mark.skipif(not (PGBOUNCER or REQUIRED), reason="PgBouncer is not installed")(test))


async def settings_of(database: Database, *names: str) -> list[str]:
    async with database.engine.connect() as connection:
        return [(await connection.execute(text(f"SHOW {name}"))).scalar_one() for name in names]


def socket_of(address: str) -> str:
    url = make_url(address)
    return f"{url.query['host']}/.s.PGSQL.{url.query.get('port', 5432)}"


@asynccontextmanager
async def listening(accept: Accept) -> AsyncIterator[int]:
    """The port at which `accept` gets every connection. The end of the block closes all of them."""
    async with asyncio.TaskGroup() as group:
        tasks = []

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.append(group.create_task(accept(reader, writer)))

        server = await asyncio.start_server(begin, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tasks:
                task.cancel()


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, socket_path: str) -> None:
    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(65536):
            target.write(piece)
        target.transport.abort()

    server_reader, server_writer = await asyncio.open_unix_connection(socket_path)
    try:
        await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer), return_exceptions=True)
    finally:
        writer.transport.abort()
        server_writer.transport.abort()


async def test_limits_and_names_are_set_in_the_session(database: Database) -> None:
    named = Database(f"{database.address.text}&application_name=billing&options=-cwork_mem%3D5MB")
    idle, name, memory = await settings_of(named, "idle_in_transaction_session_timeout", "application_name", "work_mem")
    machines = await named.machines()
    await named.close()
    assert (idle, memory) == ("15s", "5MB")
    assert name == f"billing callscribe@{next(iter(machines))}"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("schema=nowhere", "no schema has been selected to create in"),
        ("options=-cwork_memory%3D5MB", 'unrecognized configuration parameter "work_memory"'),
        ("options=-cwork_mem%3Dplenty", 'invalid value for parameter "work_mem": "plenty"'),
        ("options=-cshared_buffers%3D5MB", 'parameter "shared_buffers" cannot be changed without restarting'),
        ("options=-crole%3Dpg_monitor", "permission denied"),
        ("user=stranger", "stranger"),
    ],
)
async def test_a_setting_or_a_right_that_is_wrong_ends_the_start_with_one_line(
    postgres: str, query: str, why: str
) -> None:
    async with clone(postgres, "template0") as address:
        with pytest.raises(DatabaseUnavailable, match=why) as ended:
            await migrate(f"{address}&{query}")
    assert "\n" not in str(ended.value)


async def test_the_start_waits_until_a_database_that_cannot_be_written_can(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = asyncio.Event()
    monkeypatch.setattr(connections, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(
        connections.log, "warning", lambda *_, error, **__: waited.set() if "standby" in error else None
    )
    name = database.address.database
    async with database.engine.begin() as connection:
        await connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    starting = asyncio.create_task(migrate(database.address))
    await asyncio.wait_for(waited.wait(), 10)
    assert not starting.done()
    async with database.engine.begin() as connection:
        await connection.execute(text("SET TRANSACTION READ WRITE"))
        await connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
    await asyncio.wait_for(starting, 10)


async def test_hosts_that_do_not_answer_are_passed_over(database: Database) -> None:
    folder, port = (
        Path(socket_of(database.address.text)).parent,
        make_url(database.address.text).query.get("port", 5432),
    )
    (closed,) = free_ports(1)
    name = database.address.database
    several = Database(f"postgresql://postgres@/{name}?host=127.0.0.1,{folder}&port={closed},{port}")
    await several.check()
    await several.close()


async def test_after_a_failover_the_service_writes_to_the_new_primary(tmp_path: Path) -> None:
    servers = [EmbeddedPostgres(tmp_path / name / "postgres") for name in ("a", "b")]
    try:
        addresses = await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        first, second = (Database(address) for address in addresses)
        for name, database in {"first": first, "second": second}.items():
            async with database.engine.begin() as connection:
                await connection.execute(text(f"CREATE TABLE kept (n int, server text DEFAULT '{name}')"))
        hosts = [make_url(address).query for address in addresses]
        places = ",".join(str(query["host"]) for query in hosts)
        several = Database(f"postgresql://postgres@/postgres?host={places}&port={hosts[0]['port']}", pool_size=1)

        async def switch(database: Database, read_only: str) -> None:
            async with database.engine.connect() as connection:
                connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
                await connection.execute(text(f"ALTER SYSTEM SET default_transaction_read_only = {read_only}"))
                await connection.execute(text("SELECT pg_reload_conf()"))

        async def write() -> str:
            async with several.engine.begin() as connection:
                return str(
                    (await connection.execute(text("INSERT INTO kept VALUES (1) RETURNING server"))).scalar_one()
                )

        await switch(second, "on")
        assert await write() == "first"
        await switch(first, "on")
        await switch(second, "off")
        async with asyncio.timeout(10):
            while (where := await _unless_absent(write)) is None:
                pass
        assert where == "second"
        for database in (first, second, several):
            await database.close()
    finally:
        for server in servers:
            await asyncio.to_thread(server.stop)


async def _unless_absent(write: Callable[[], Coroutine[None, None, str]]) -> str | None:
    try:
        return await write()
    except DBAPIError as error:
        if not is_absence(error):
            raise
        return None


@pytest.fixture
async def encrypted(database: Database, tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """The address of the database behind TLS for `localhost`, and the file of the certificate's authority.

    The server takes only clients with a certificate of that authority. One is in `client.pem` beside the file.
    """
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("postgres").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "root.pem"))
    path = socket_of(database.address.text)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # SSLRequest
        writer.write(b"S")
        try:
            await writer.start_tls(tls)
        except OSError:  # the client does not trust the certificate
            writer.transport.abort()
        else:
            await relay(reader, writer, path)

    async with listening(accept) as port:
        yield f"postgresql://postgres@localhost:{port}/{database.address.database}", tmp_path / "root.pem"


async def test_a_certificate_is_verified_as_the_address_says(encrypted: tuple[str, Path]) -> None:
    address, authority = encrypted
    client = authority.with_name("client.pem")
    for query in ("sslmode=require", "sslmode=prefer", f"sslmode=verify-full&sslrootcert={authority}"):
        await migrate(f"{address}?{query}&sslcert={client}&sslkey={client}")


async def test_the_certificates_of_the_system_may_verify_the_server(
    encrypted: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, authority = encrypted
    client = authority.with_name("client.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    await migrate(f"{address}?sslrootcert=system&sslcert={client}&sslkey={client}")


async def test_a_name_that_the_certificate_does_not_have_ends_the_start(encrypted: tuple[str, Path]) -> None:
    address, authority = encrypted
    with pytest.raises(DatabaseUnavailable, match="IP address mismatch"):
        await migrate(f"{address.replace('localhost', '127.0.0.1')}?sslmode=verify-full&sslrootcert={authority}")


async def test_a_certificate_of_a_stranger_ends_the_start_with_one_line(encrypted: tuple[str, Path]) -> None:
    with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
        await migrate(f"{encrypted[0]}?sslrootcert=system")


async def test_a_server_without_encryption_ends_the_start_if_encryption_is_required(database: Database) -> None:
    path = socket_of(database.address.text)
    async with listening(lambda reader, writer: relay(reader, writer, path)) as port:
        with pytest.raises(DatabaseUnavailable, match="it offers no encryption, which sslmode asks for"):
            await migrate(f"postgresql://postgres@localhost:{port}/{database.address.database}?sslmode=require")


@asynccontextmanager
async def pooled(database: Database, folder: Path, mode: str) -> AsyncIterator[str]:
    """The address of a PgBouncer before the database, with its default settings but for the mode."""
    name, path = database.address.database, socket_of(database.address.text)
    (port,) = free_ports(1)
    async with listening(lambda reader, writer: relay(reader, writer, path)) as server:
        (folder / "users").write_text('"postgres" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n{name} = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nauth_type = trust\nauth_file = {folder}/users\npool_mode = {mode}\n"
            "unix_socket_dir =\n"
        )
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        process = await asyncio.create_subprocess_exec(
            PGBOUNCER or "", *as_nobody, str(folder / "pgbouncer.ini"), stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await _until_open(port)
            yield f"postgresql://postgres@127.0.0.1:{port}/{name}"
        finally:
            process.terminate()
            await process.wait()


async def _until_open(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


@needs_pooler
async def test_a_pooler_in_session_mode_works_with_its_default_settings(database: Database, tmp_path: Path) -> None:
    async with pooled(database, tmp_path, "session") as address:
        with_settings = f"{address}?schema=public&options=-c%20work_mem%3D5MB"
        await migrate(with_settings)
        through = Database(with_settings)
        names = "idle_in_transaction_session_timeout", "search_path", "work_mem"
        assert await settings_of(through, *names) == ["15s", "public", "5MB"]
        await through.close()


@needs_pooler
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_in_another_mode_ends_the_start_with_one_line(
    database: Database, tmp_path: Path, mode: str
) -> None:
    async with pooled(database, tmp_path, mode) as address:
        with pytest.raises(DatabaseUnavailable, match="a pooler in transaction mode"):
            await migrate(address)
