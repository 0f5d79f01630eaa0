"""A PostgreSQL that listens on 127.0.0.1 and asks for passwords, as the database of an operator does."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from app.database import postgres_folder
from testing.ports import free_ports

ADMIN = "administrator"
PASSWORD = "a-secret"  # of the administrator
RULES = "local all all peer map=callscribe\nhost all all 127.0.0.1/32 scram-sha-256\n"
READY_SECONDS = 30.0


@dataclass(frozen=True)
class TcpPostgres:
    """`log` has every statement that the server gets."""

    port: int
    log: Path

    def address(self, database: str = "postgres", user: str = ADMIN, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        connection = await asyncpg.connect(self.address(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def tcp_postgres(folder: Path) -> Iterator[TcpPostgres]:
    """Runs the server until the end of the block. `folder` must not exist, and its path must be short."""
    as_owner = postgres_folder.prepare(folder)
    (folder / "pg_hba.conf").write_text(RULES)
    data = ["-D", postgres_folder.data_directory(folder)]
    make_admin = f"CREATE ROLE {ADMIN} SUPERUSER LOGIN PASSWORD '{PASSWORD}'\n"
    without_input = {name: value for name, value in as_owner.items() if name not in ("stdin", "stdout", "stderr")}
    single = [postgres_folder.program("postgres"), "--single", *data, "postgres"]
    subprocess.run(single, input=make_admin, text=True, check=True, capture_output=True, **without_input)
    [port] = free_ports(1)
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ".", "log_statement": "all"}
    settings = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
    log = folder.parent / f"{folder.name}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [postgres_folder.program("postgres"), *data, *settings], stdout=output, stderr=output, **without_input
        )
    try:
        _wait_until_ready(folder, server)
        yield TcpPostgres(port, log)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def _wait_until_ready(folder: Path, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + READY_SECONDS
    pid_file = folder / "postmaster.pid"
    while not (pid_file.exists() and "ready" in pid_file.read_text()):
        assert server.poll() is None, "PostgreSQL did not start"
        assert time.monotonic() < until, "PostgreSQL is not ready"
        time.sleep(0.05)
