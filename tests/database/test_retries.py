"""Writes that have to succeed, on a database that loses connections or refuses them."""

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.database.connections import DATABASE_TROUBLE, Database, is_refusal
from app.database.retries import UninterruptedTime, despite_database_trouble, write_down

LOSE_THE_CONNECTION = "SELECT pg_terminate_backend(pg_backend_pid())"


def test_the_duration_of_a_repeated_event_counts_from_the_last_gap() -> None:
    contact = UninterruptedTime()
    assert [contact.record(now, longest_gap=12) for now in (100, 105, 110, 123, 128)] == [0, 5, 10, 0, 5]


class Write:
    """Runs the next one of its statements at each call."""

    def __init__(self, *statements: str) -> None:
        self._statements = statements
        self.calls = 0

    async def __call__(self, session: AsyncSession) -> int:
        statement = self._statements[self.calls]
        self.calls += 1
        return int((await session.exec(text(statement))).scalar_one())  # type: ignore[call-overload]


async def test_the_log_names_the_error_of_a_database_in_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    async def claim() -> None:
        raise ConnectionRefusedError("nothing listens")

    await despite_database_trouble(claim)
    logged = "".join(capsys.readouterr())
    assert "database trouble" in logged
    assert "nothing listens" in logged


async def test_a_write_is_repeated_after_a_lost_connection(database: Database) -> None:
    write = Write(LOSE_THE_CONNECTION, LOSE_THE_CONNECTION, "SELECT 42")
    assert await write_down(database, write, (0.0, 0.0)) == 42


async def test_a_write_is_given_up_after_the_last_pause(database: Database) -> None:
    write = Write(*[LOSE_THE_CONNECTION] * 3)
    with pytest.raises(DATABASE_TROUBLE) as lost:
        await write_down(database, write, (0.0,))
    assert (write.calls, is_refusal(lost.value)) == (2, False)


async def test_a_write_that_the_database_refuses_is_not_repeated(database: Database) -> None:
    write = Write("SELECT 1 / 0", "SELECT 42")
    with pytest.raises(DATABASE_TROUBLE) as refused:
        await write_down(database, write, (0.0,))
    assert (write.calls, is_refusal(refused.value)) == (1, True)
