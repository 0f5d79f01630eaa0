"""Routes for those who follow a live call: which calls go on, and the stream of what is said."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.access.callers import Caller
from app.api import event_streams
from app.database.connections import Database
from app.live import rows
from app.live.events import Partial, SpeechStarted, Transcript
from testing.forms import refused
from testing.listening import Listening, listening
from testing.live import ended, running, told
from testing.waiting import soon
from tests.conftest import ALICE

KEYS = {"api_keys": f"alice:{ALICE}"}
OWN = {"Authorization": f"Bearer {ALICE}"}
SPOKEN = Transcript(1, "customer", 0, "Good morning.\u2028Hello.", 0.3, 1.9, "en")
DRAFT = Partial(1, "customer", 0, "Good", 0.3)


def follow(service: Listening, call_id: UUID, **headers: str) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(service.client.get(f"/v1/live/{call_id}/events", headers={**OWN, **headers}))


def events_of(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """The number and the object of each event."""
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            event = json.loads(fields["data"])
            assert event["type"] == fields["event"]
            yield fields["id"], event


async def test_a_call_that_goes_on_is_listed_until_it_ends(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path, **KEYS) as service:
        first, second = await running(database, external_id="crm-1"), await running(database)
        await running(database, Caller("bob", "other"))
        await told(database, first)
        listed = (await service.client.get("/v1/live", headers=OWN)).json()["items"]
        assert [(call["id"], call["external_id"]) for call in listed] == [(str(first), "crm-1"), (str(second), None)]
        assert (await service.client.get(listed[0]["links"]["self"], headers=OWN)).json() == listed[0]
        assert listed[0] | {"id": "", "started_at": "", "links": {}} == {
            "id": "",
            "status": "running",
            "started_at": "",
            "seconds": 2.5,
            "dialect": "own",
            "channels": [{"index": 0, "label": "agent"}, {"index": 1, "label": "customer"}],
            "external_id": "crm-1",
            "metadata": {"agent": "Anna"},
            "links": {},
        }
        await ended(database, first)
        listed = (await service.client.get("/v1/live", headers=OWN)).json()["items"]
        assert [call["id"] for call in listed] == [str(second)]
        assert (await service.client.get(f"/v1/live/{first}", headers=OWN)).json()["status"] == "ended"


async def test_a_follower_gets_all_events_and_the_newest_draft_until_the_call_ends(
    database: Database, tmp_path: Path
) -> None:
    async with listening(database, tmp_path, **KEYS) as service:
        call_id = await running(database)
        await told(database, call_id, (2, SpeechStarted(1, "customer", 0.3)), partial=DRAFT)
        following = follow(service, call_id)
        await soon_followed(service, 1)
        await told(database, call_id, (3, SPOKEN))
        await ended(database, call_id)
        service.service.parts.signals.wake()
        answer = await following
        late = await follow(service, call_id, **{"Last-Event-ID": "2"})
        entries = await audited(database)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert [(number, event["type"]) for number, event in events_of(answer)] == [
        ("1", "started"),
        ("2", "speech_started"),
        ("2", "partial"),
        ("3", "transcript"),
        ("4", "stopped"),
    ]
    assert "\u2028" not in answer.text
    assert dict(events_of(answer))["3"] == SPOKEN.as_json()
    assert [number for number, _ in events_of(late)] == ["3", "4"]
    assert entries == [("alice", "transcript.streamed", call_id)] * 2


async def test_a_call_of_another_tenant_is_not_found(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path, **KEYS) as service:
        call_id = await running(database, Caller("bob", "other"))
        for path in (f"/v1/live/{call_id}", f"/v1/live/{call_id}/events"):
            refused(await service.client.get(path, headers=OWN), 404, "not_found")
        assert await audited(database) == []
        for wrong in ("-1", "x", str(2**31)):
            answer = await service.client.get(path, headers={**OWN, "Last-Event-ID": wrong})
            refused(answer, 422, "invalid_request")


async def test_a_follower_that_hangs_up_or_asks_only_for_the_headers_holds_no_place(
    database: Database, tmp_path: Path
) -> None:
    async with listening(database, tmp_path, **KEYS) as service:
        call_id = await running(database)
        head = await service.client.head(f"/v1/live/{call_id}/events", headers=OWN)
        assert (head.status_code, head.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        following = follow(service, call_id)
        await soon_followed(service, 1)
        following.cancel()
        await soon_followed(service, 0)


async def test_a_quiet_stream_is_kept_awake_and_ends_when_the_process_stops(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "QUIET_SECONDS", 0.0)
    async with listening(database, tmp_path, **KEYS) as service:
        call_id = await running(database)
        following = follow(service, call_id)
        await soon_followed(service, 1)
        service.service.parts.signals.wake()
        await asyncio.sleep(0.2)
        assert not following.done()
        service.service.close()
        answer = await following
    assert ": the call goes on\n\n" in answer.text
    assert [event["type"] for _, event in events_of(answer)] == ["started"]


async def test_a_follower_sees_each_event_once_although_the_database_was_away(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.live.following.TROUBLE_PAUSE_SECONDS", 0.05)
    read, troubles = rows.events_after, iter([False, True, True])

    async def events_after(*arguments: Any) -> Any:
        if next(troubles, False):
            raise ConnectionResetError
        return await read(*arguments)

    monkeypatch.setattr(rows, "events_after", events_after)
    async with listening(database, tmp_path, **KEYS) as service:
        call_id = await running(database)
        following = follow(service, call_id)
        await soon_followed(service, 1)
        service.service.parts.signals.wake()
        await soon(lambda: next(troubles, None) is None)
        await ended(database, call_id)
        service.service.parts.signals.wake()
        answer = await following
    assert [event["type"] for _, event in events_of(answer)] == ["started", "stopped"]


async def test_a_client_is_refused_if_too_many_follow(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(database, tmp_path, **KEYS) as service:
        call_id = await running(database)
        monkeypatch.setattr(service.service.waiting, "_most", 1)
        monkeypatch.setattr(service.service.waiting._holders, "_places", 1)
        following = follow(service, call_id)
        await soon_followed(service, 1)
        refused(await follow(service, call_id), 503, "unavailable")
        await ended(database, call_id)
        service.service.parts.signals.wake()
        await following
        await soon_followed(service, 0)


async def soon_followed(service: Listening, clients: int) -> None:
    await soon(lambda: sum(service.service.waiting._holders.of_owner.values()) == clients)


async def audited(database: Database) -> list[tuple[str, str, UUID]]:
    async with database.transaction() as session:
        found = await session.exec(text("SELECT caller, action, transcription_id FROM audit ORDER BY at, id"))  # type: ignore[call-overload]
        return [tuple(row) for row in found]
