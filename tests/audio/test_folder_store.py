"""Folders that are not there, as a mount that is away leaves them."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import readiness
from app.audio.folder_store import MARKER, LocalAudioStore
from app.audio.store import StoreUnavailable
from app.audio.workspace import Workspace
from app.db import Database
from tests.listening import listening


async def stream() -> AsyncIterator[bytes]:
    yield b"a recording"


async def save(store: LocalAudioStore, key: str) -> None:
    await store.save(key, stream(), 100)


async def read(store: LocalAudioStore, key: str) -> bytes:
    async with store.local_path(key) as path:
        return await asyncio.to_thread(path.read_bytes)


async def test_a_recording_that_is_missing_is_told_from_a_mount_that_is_missing(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "audio", tmp_path / "unmounted"
    store = LocalAudioStore(folder)
    await save(store, "one")
    with pytest.raises(FileNotFoundError):
        await read(store, "two")
    await store.delete("two")
    folder.rename(elsewhere)
    (folder / "incoming").mkdir(parents=True)  # an empty folder is what is left of a mount
    for attempt in (read(store, "one"), store.delete("one"), store.check()):
        with pytest.raises(StoreUnavailable, match=MARKER):
            await attempt
    (folder / "incoming").rmdir()
    with pytest.raises(StoreUnavailable, match=MARKER):
        await save(store, "two")
    folder.rmdir()
    elsewhere.rename(folder)
    assert await read(LocalAudioStore(folder), "one") == b"a recording"


async def test_a_folder_that_is_not_new_is_not_marked_but_waited_for(tmp_path: Path) -> None:
    folder, mount = tmp_path / "audio", tmp_path / "mount"
    await save(LocalAudioStore(mount), "one")
    folder.mkdir()
    store = LocalAudioStore(folder, may_be_new=False)
    for attempt in (store.check(), save(store, "two"), read(store, "one")):
        with pytest.raises(StoreUnavailable, match=MARKER):
            await attempt
    assert list(folder.iterdir()) == []
    folder.rmdir()
    mount.rename(folder)
    await store.check()
    await save(store, "two")
    assert await read(store, "one") == b"a recording"


def test_a_place_where_no_folder_can_be_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for open_folder in (LocalAudioStore, Workspace):
        with pytest.raises(StoreUnavailable, match="file/audio cannot be used: Not a directory"):
            open_folder(tmp_path / "file" / "audio")


def test_what_stands_in_the_way_inside_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "left" / ".lock").mkdir(parents=True)
    with pytest.raises(StoreUnavailable, match=r"/left/\.lock cannot be used"):
        Workspace(tmp_path)


async def test_what_may_not_be_looked_at_keeps_no_other_from_being_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stat = LocalAudioStore(tmp_path), Path.stat

    def shut(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.name == "shut":  # root may look at everything, so that no mode of the folder shuts it for these tests
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, follow_symlinks=follow_symlinks)

    for key in ("shut", "open"):
        await save(store, key)
    monkeypatch.setattr(Path, "stat", shut)
    assert await store.untouched(-60) == ["open"]


async def test_other_trouble_with_the_folder_is_told_in_its_words(tmp_path: Path) -> None:
    store = LocalAudioStore(tmp_path / "audio")
    (store.folder / "ey").write_bytes(b"where a folder should be")
    with pytest.raises(StoreUnavailable, match=r"exists|directory"):
        await save(store, "key")
    assert [path.name for path in store.folder.glob("incoming/*")] == []


async def test_a_mount_that_is_away_is_seen_by_the_orchestrator(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "KEPT_SECONDS", 0.0)
    async with listening(database, tmp_path) as service:
        assert not [reason for reason in (await service.client.get("/readyz")).json()["reasons"] if "storage" in reason]
        service.audio.rename(tmp_path / "unmounted")
        ready = await service.client.get("/readyz")
    assert ready.status_code == 503
    [reason] = ready.json()["reasons"]
    assert reason.startswith(f"storage: the folder {service.audio} cannot be used: it has no {MARKER}")
