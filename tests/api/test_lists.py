"""The list of transcriptions: filters, orders, pages, and search in what was said."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.database.connections import Database
from testing.listening import Listening, listening
from testing.said import ids, said


@pytest.fixture
async def service(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as service:
        yield service


async def listed(service: Listening, query: str) -> list[dict[str, Any]]:
    answer = await service.client.get(f"/v1/transcriptions?{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def found(service: Listening, query: str) -> list[str]:
    return [item["id"] for item in await listed(service, query)]


async def test_a_call_is_found_by_what_was_said(database: Database, service: Listening) -> None:
    first = await said(database, "How can I help?", "I would like a refund for this order.")
    second = await said(database, "The refund is on its way.", "Thank you!")
    await said(database, "Good morning.")
    [newest, oldest] = await listed(service, "q=refund")
    assert [newest["id"], oldest["id"]] == ids([second, first])
    assert oldest["hits"] == [
        {"start": 10.0, "speaker": "customer", "text": "I would like a refund for this order.", "marks": [[15, 21]]}
    ]
    assert oldest["speakers"] == [
        {"label": "agent", "speech_seconds": 9.0},
        {"label": "customer", "speech_seconds": 9.0},
    ]
    assert await found(service, 'q="this order" REFUND') == ids([first])
    assert await found(service, "q=refund morning") == []
    assert [item["hits"] for item in await listed(service, "order=oldest&limit=1")] == [None]


async def test_the_list_has_filters(database: Database, service: Listening) -> None:
    mary = await said(database, "Hi", metadata={"agent": "Mary", "team": 7}, language="de")
    anna = await said(database, "Hi", metadata={"agent": "Anna"}, external_id="crm-1")
    assert await found(service, "metadata.agent=Mary") == ids([mary])
    assert await found(service, "metadata.agent=Mary&metadata.team=7&q=hi") == ids([mary])
    assert await found(service, "metadata.agent=Mary&metadata.team=8") == []
    assert await found(service, "language=de&language=fr") == ids([mary])
    assert await found(service, "status=completed&status=failed&order=oldest") == ids([mary, anna])
    assert await found(service, "external_id=crm-1") == ids([anna])
    at = anna.created_at.isoformat()
    assert await found(service, f"created_after={at}") == ids([anna])
    assert await found(service, f"created_before={at}&q=hi") == ids([mary])
    assert await found(service, "created_before=2020-01-01") == []
    wei = await said(database, "Hi", metadata={"agent": {"id": 7, "name": "Li Wei"}, "tags": ["vip", ["late", None]]})
    for filters in ("metadata.agent=Li Wei", "metadata.agent=7&metadata.tags=vip", "metadata.tags=late"):
        assert await found(service, filters) == ids([wei]), filters
    assert await found(service, "metadata.name=Li Wei") == []
