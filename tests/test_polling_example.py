"""`examples/java/PolledTable.java` waits for a call in the table, as the role that may read nothing else."""

import asyncio
import os
import shutil
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from app.database.connections import Database, migrate
from app.jobs.lifecycle import Failed, Succeeded
from app.transcripts.transcript import Channel, Segment, Transcript
from testing.rows import SUCCESS, claim, enqueue, finish
from testing.service import callscribe
from testing.tcp_postgres import TcpPostgres, tcp_postgres

PROGRAM = Path(__file__).parents[1] / "examples" / "java" / "PolledTable.java"
DRIVER = Path("/usr/share/java/postgresql.jar")  # of Debian's libpostgresql-jdbc-java
MISSING = shutil.which("java") is None or not DRIVER.exists()
SECRET = "reader-secret"
SAID = Transcript("en", 1.0, 1.0, (Channel(0, "a", "en", 1.0, 1.0),), (Segment(0, 0, "a", 0.0, 1.0, "你好", "zh"),))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(MISSING, reason="java or its driver is not installed")]


async def started(server: TcpPostgres, name: str) -> Process:
    own = {
        "JDBC_URL": f"jdbc:postgresql://127.0.0.1:{server.port}/postgres",
        "DB_PASSWORD": SECRET,
        "POLL_SECONDS": "60",  # longer than the test waits, so that only the notification can wake it
        "JAVA_TOOL_OPTIONS": "-Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8",
    }
    return await asyncio.create_subprocess_exec(
        "java", "-cp", DRIVER, PROGRAM, name, env=os.environ | own, stdout=PIPE, stderr=PIPE
    )


async def said_by(program: Process, text: str) -> None:
    """Waits until the program has said so on its standard error."""
    assert program.stderr is not None
    while text not in (line := (await asyncio.wait_for(program.stderr.readline(), 40)).decode()):
        assert line, "the program ended"


async def test_the_program_is_woken_by_the_end_of_its_call_and_prints_the_text(workspace: Path, tmp_path: Path) -> None:
    with tcp_postgres(workspace / "jdbc") as server:
        await migrate(server.address())
        made = await asyncio.to_thread(
            callscribe, "database", "reader", "--password", SECRET, folder=tmp_path, DATABASE_URL=server.address()
        )
        assert made.returncode == 0, made.stderr
        database = Database(server.address())
        for name, outcome, expected in (
            ("call 1.wav", Succeeded(SAID, SUCCESS.audio, SUCCESS.timings), (0, "你好\n", "")),
            ("call 2.wav", Failed("bad_media", "It is broken."), (1, "", "2: It is broken.\n")),
        ):
            await enqueue(database, filename=name)
            program = await started(server, name)
            await said_by(program, ": pending")
            [job] = await claim(database)
            await finish(database, job, outcome)
            output, errors = await asyncio.wait_for(program.communicate(), 40)
            assert "has ended." in errors.decode()
            assert (program.returncode, output.decode(), errors.decode().split("has ended.\n")[1]) == expected
        await database.close()
