"""A decoder that cannot work, as a client sees it: the recording is not refused, it is asked for again."""

import sys
from pathlib import Path

import pytest

from app.database.connections import Database
from testing.forms import refused
from testing.listening import listening
from testing.recordings import tone


async def test_an_upload_is_unavailable_and_leaves_nothing(
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
