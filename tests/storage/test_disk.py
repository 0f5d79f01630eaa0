"""Full and nearly full disks, as clients and operators see them."""

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from app.audio.decode import decode
from app.database.connections import Database
from app.errors import InsufficientStorage
from app.storage import folder_store
from app.storage.disk import CHECK_BYTES, FreeSpace
from testing.forms import refused
from testing.listening import listening
from testing.recordings import tone

MORE_THAN_THERE_IS = str(10**15)


async def test_an_upload_to_a_nearly_full_disk_is_refused_before_it_is_read(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path, min_free_bytes=MORE_THAN_THERE_IS) as service:
        answer = await service.client.post("/v1/transcriptions", files={"file": tone()})
        ready = await service.client.get("/readyz")
    refused(answer, 507, "insufficient_storage")
    assert answer.headers["Retry-After"] == "60"
    assert answer.headers["Connection"] == "close"
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["storage: less than 909.5TiB free"])
    assert service.stored_files() == []


async def test_an_upload_that_fills_the_disk_leaves_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder_store, "_sync", full)
    async with listening(database, tmp_path) as service:
        answer = await service.client.post("/v1/transcriptions", files={"file": bytes(3_000_000)})
        listed = await service.client.get("/v1/transcriptions")
    refused(answer, 507, "insufficient_storage")
    assert service.stored_files() == []
    assert listed.json()["items"] == []


async def test_an_upload_leaves_nothing_if_the_disk_has_no_space_for_a_local_copy(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: folder_store.LocalAudioStore, key: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder_store.LocalAudioStore, "local_path", full)
    async with listening(database, tmp_path) as service:
        answer = await service.client.post("/v1/transcriptions", files={"file": tone()})
    refused(answer, 507, "insufficient_storage")
    assert service.stored_files() == []


async def test_an_announced_length_over_the_free_space_is_refused(tmp_path: Path) -> None:
    space = FreeSpace([tmp_path], 0)
    await space.require(1000)
    with pytest.raises(InsufficientStorage):
        await space.require(10**15)


async def test_a_stream_of_unknown_length_is_stopped_before_it_fills_the_disk(tmp_path: Path) -> None:
    async def stream() -> Any:
        for _ in range(100):
            yield bytes(CHECK_BYTES // 4)

    guarded = FreeSpace([tmp_path], 10**15).guard(stream())
    for _ in range(3):
        assert await anext(guarded)
    with pytest.raises(InsufficientStorage):
        await anext(guarded)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_recording_is_not_blamed_for_a_full_disk(tmp_path: Path) -> None:
    call = tmp_path / "call"
    call.write_bytes(tone())
    (tmp_path / "channel-0.pcm").symlink_to("/dev/full")
    with pytest.raises(OSError, match="no space") as failure:
        await decode(call, tmp_path, split=True, max_seconds=60)
    assert failure.value.errno == errno.ENOSPC
