"""A client's view of a broken decoder: the service does not refuse the recording, it asks the client to try again."""

import sys
from pathlib import Path

import pytest

from app.database.connections import Database
from testing.forms import refused
from testing.listening import listening
from testing.recordings import tone


async def test_an_upload_without_a_decoder_is_answered_unavailable_and_leaves_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    async with listening(database, tmp_path) as service:
        answer = await service.client.post("/v1/transcriptions", files={"file": tone()})
        listed = await service.client.get("/v1/transcriptions")
    refused(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert service.stored_files() == []
    assert listed.json()["items"] == []
