"""The folder store: missing mounts, permissions, and a disk that hangs."""

import asyncio
import errno
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import pytest

from app import readiness
from app.database.connections import Database
from app.storage import folder_store
from app.storage.folder_store import MARKER, LocalAudioStore
from app.storage.store import StoreUnavailable
from app.storage.workspace import Workspace
from testing.listening import listening
from testing.recordings import tone


async def stream() -> AsyncIterator[bytes]:
    yield b"a recording"


async def save(store: LocalAudioStore, key: str) -> None:
    await store.save(key, stream(), 100)


async def read(store: LocalAudioStore, key: str) -> bytes:
    async with store.local_path(key) as path:
        return await asyncio.to_thread(path.read_bytes)


async def test_a_missing_recording_and_a_missing_mount_raise_different_errors(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "audio", tmp_path / "unmounted"
    store = LocalAudioStore(folder)
    await save(store, "one")
    with pytest.raises(FileNotFoundError):
        await read(store, "two")
    await store.delete("two")
    folder.rename(elsewhere)
    (folder / "incoming").mkdir(parents=True)  # a missing mount leaves an empty folder
    for attempt in (read(store, "one"), store.delete("one"), store.check()):
        with pytest.raises(StoreUnavailable, match=MARKER):
            await attempt
    (folder / "incoming").rmdir()
    with pytest.raises(StoreUnavailable, match=MARKER):
        await save(store, "two")
    folder.rmdir()
    elsewhere.rename(folder)
    assert await read(LocalAudioStore(folder), "one") == b"a recording"


@pytest.mark.parametrize(("mode", "folders", "files"), [(0o755, 0o700, 0o600), (0o770, 0o770, 0o660)])
async def test_the_group_may_read_recordings_only_if_it_may_write_to_the_folder(
    tmp_path: Path, mode: int, folders: int, files: int
) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    folder.chmod(mode)
    await save(LocalAudioStore(folder), "one")
    made = {path.relative_to(folder): path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert made == {
        Path("incoming"): folders,
        Path("ne"): folders,
        Path("ne/one"): files,
        Path(MARKER): files,
    }
    assert folder.stat().st_mode & 0o777 == mode


async def test_a_store_waits_for_the_marker_of_a_folder_that_is_not_new(tmp_path: Path) -> None:
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


def test_a_path_that_cannot_be_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for open_folder in (LocalAudioStore, Workspace):
        with pytest.raises(
            StoreUnavailable, match="file/audio cannot be used: there is a file where a folder is needed"
        ):
            open_folder(tmp_path / "file" / "audio")


def test_the_error_names_the_path_that_is_in_the_way_inside_a_folder(tmp_path: Path) -> None:
    (tmp_path / "left" / ".lock").mkdir(parents=True)
    with pytest.raises(StoreUnavailable, match=r"/left/\.lock cannot be used"):
        Workspace(tmp_path)


async def test_a_recording_without_read_permission_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stat = LocalAudioStore(tmp_path), Path.stat

    def shut(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.name == "shut":  # a file mode would not keep root out
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, follow_symlinks=follow_symlinks)

    for key in ("shut", "open"):
        await save(store, key)
    monkeypatch.setattr(Path, "stat", shut)
    assert await store.untouched(-60) == ["open"]


async def test_other_errors_of_the_folder_are_reported_in_the_words_of_the_system(tmp_path: Path) -> None:
    store = LocalAudioStore(tmp_path / "audio")
    (store.folder / "ey").write_bytes(b"where a folder should be")
    with pytest.raises(StoreUnavailable, match=r"exists|directory"):
        await save(store, "key")
    assert [path.name for path in store.folder.glob("incoming/*")] == []


async def test_readiness_reports_a_missing_mount(
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


class HungDisk:
    """The disk of a folder. While it hangs, every call that uses it waits."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._answers = Event()
        self._answers.set()
        for owner, name in ((Path, "open"), (Path, "stat"), (Path, "unlink"), (tempfile, "TemporaryFile")):
            monkeypatch.setattr(owner, name, self._waits(getattr(owner, name)))

    def hang(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()

    def _waits(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def waits(*arguments: Any, **options: Any) -> Any:
            if Path(options.get("dir") or arguments[0]).is_relative_to(self._folder) and not self._answers.is_set():
                assert current_thread() is not main_thread(), "the event loop would hang"
                assert self._answers.wait(60)
            return work(*arguments, **options)

        return waits


async def test_a_disk_that_hangs_delays_no_request_that_does_not_need_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_store, "CHECK_SECONDS", 0.2)
    disk = HungDisk(tmp_path / "audio", monkeypatch)
    async with listening(database, tmp_path) as service:
        job = (await service.client.post("/v1/transcriptions", files={"file": tone()})).json()
        disk.hang()
        try:
            uploads = [service.client.post("/v1/transcriptions", files={"file": tone()}) for _ in range(50)]
            reads = [service.client.get(job["links"]["audio"]) for _ in range(50)]
            async with asyncio.timeout(60):
                answers = await asyncio.gather(*uploads)
                answers += await asyncio.gather(*reads)
                ready = await service.client.get("/readyz")
                listed = await service.client.get("/v1/transcriptions")
        finally:
            disk.answer()
        assert {answer.status_code for answer in answers} == {503}
        assert f"storage: the folder {service.audio} cannot be used: no answer from its disk" in ready.json()["reasons"]
        assert [item["id"] for item in listed.json()["items"]] == [job["id"]]
        async with asyncio.timeout(60):
            while (await service.client.get(job["links"]["audio"])).status_code != 200:
                pass
        assert (await service.client.post("/v1/transcriptions", files={"file": tone()})).status_code == 202
        assert len(service.stored_files()) == 2


async def test_the_age_of_a_file_is_measured_by_the_clock_of_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a process whose clock is an hour ahead takes a new recording for an orphan."""
    store, now = LocalAudioStore(tmp_path), time.time()
    for key in ("old", "new"):
        await save(store, key)
    os.utime(tmp_path / "ld" / "old", (now - 7200, now - 7200))
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    assert await store.untouched(3600) == ["old"]


async def test_a_recording_is_erased_if_its_folder_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    store = LocalAudioStore(tmp_path / "audio")
    monkeypatch.setattr(folder_store, "sync_folder", fail)
    with pytest.raises(StoreUnavailable):
        await save(store, "one")
    assert [path.name for path in store.folder.rglob("*") if path.is_file()] == [MARKER]
