"""`/v1/reports` counts calls, and each of its figures leads to the calls that it counts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.database.connections import Database
from testing.listening import Listening, listening
from tests.analysis.conftest import completed


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


async def test_smoke(database: Database, served: Listening) -> None:
    await completed(database, metadata={"agent": "Mary"})
    for by in ("day", "week", "month", "agent", "language", "status", "category", "intent", "sentiment", "model"):
        answer = await served.client.get(f"/v1/reports?by={by}")
        assert answer.status_code == 200, answer.text
