"""A file of the folder becomes one job, and nothing else does."""

import asyncio
import json
import os
import socket
import time
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.exc import InterfaceError

from app.database.connections import DATABASE_TROUBLE
from app.errors import QueueFull
from app.intake.folder import taking
from app.intake.folder.place import FolderUnavailable
from app.jobs.lifecycle import Status
from app.storage.file_url import file_url, path_of
from testing.files import files_in
from testing.recordings import tone
from testing.waiting import until
from tests.intake.folder.conftest import Site

ODD = [
    "a b.wav",
    "客户 电话.wav",
    'it\'s "so".wav',
    "#1?.wav",
    "line\nbreak.wav",
    "per%20cent {id}.wav",
    "-rf.wav",
    "ends.WAV",
]


async def test_a_complete_file_becomes_a_job_and_goes_to_the_accepted_ones(site: Site) -> None:
    path = site.drop("2026/call-1.wav")
    await site.look()
    [job] = await site.jobs()
    assert (job.caller, job.filename, job.external_id, job.bytes) == ("folder", "call-1.wav", "call-1", len(tone()))
    assert job.source == file_url(path)
    assert job.outputs == [{"url": file_url(site.output / "2026" / "call-1"), "formats": ["whisper"]}]
    assert site.files == [f".accepted/{job.id}/2026/call-1.wav"]
    assert [file.name for file in files_in(site.store.folder) if file.name[0] != "."] == [str(job.id)]
    await site.look()
    assert len(await site.jobs()) == 1


@pytest.mark.parametrize(
    "name", ["a.part", "a.filepart", "a.wav.tmp", ".a.wav", ".hidden/a.wav", "a.wav~", "a.json", "Thumbs.db"]
)
async def test_a_file_that_is_no_recording_stays(site: Site, name: str) -> None:
    site.drop(name)
    await site.look()
    assert (await site.jobs(), site.files) == ([], [name])


async def test_a_file_is_taken_when_it_has_not_changed_for_long_enough(site: Site) -> None:
    path = site.drop("call.wav", age=1)
    await site.look()
    assert await site.jobs() == []
    os.utime(path, (time.time() - 6,) * 2)
    await site.look()
    assert len(await site.jobs()) == 1


async def test_a_file_that_is_open_for_writing_waits_however_long_it_has_not_changed(site: Site) -> None:
    path = site.drop("call.wav")
    with path.open("ab"):
        await site.look()
        assert await site.jobs() == []
    site.restart()
    await site.look()
    assert len(await site.jobs()) == 1


@pytest.mark.parametrize("content", [b"", tone()[:-100], b"no recording yet"])
async def test_a_file_that_looks_incomplete_waits_for_longer(site: Site, content: bytes) -> None:
    site.drop("call.wav", content)
    await site.look()
    assert (await site.jobs(), site.files) == ([], ["call.wav"])


async def test_a_file_that_is_written_while_it_is_read_is_not_taken(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site.drop("call.wav", tone() * 2)
    read = os.pread

    def grown(descriptor: int, count: int, offset: int) -> bytes:
        if count > 100:
            with path.open("ab") as file:
                file.write(b"more")
        return read(descriptor, count, offset) if offset == 0 else b""

    with monkeypatch.context() as patch:
        patch.setattr("app.intake.folder.disk.os.pread", grown)
        await site.look()
    assert (await site.jobs(), site.files) == ([], ["call.wav"])
    assert [file for file in files_in(site.store.folder) if file.name[0] != "."] == []


@pytest.mark.parametrize("name", ODD)
async def test_a_name_may_hold_anything(site: Site, name: str) -> None:
    path = site.drop(name)
    await site.look()
    [job] = await site.jobs()
    assert job.filename == name.replace("\n", "")
    assert path_of(job.source) == path
    assert site.files == [f".accepted/{job.id}/{name}"]


async def test_a_name_may_not_be_utf8(site: Site) -> None:
    site.drop(b"anruf-\xfc.wav")
    await site.look()
    [job] = await site.jobs()
    assert job.filename == "anruf-\ufffd.wav"
    assert path_of(job.source) == site.root / os.fsdecode(b"anruf-\xfc.wav")
    assert job.outputs[0]["url"].endswith("anruf-%FC")


async def test_links_pipes_and_sockets_are_not_followed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "call.wav").write_bytes(tone())
    (site.root / "link.wav").symlink_to(secret / "call.wav")
    (site.root / "linked").symlink_to(secret)
    os.mkfifo(site.root / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(site.root)  # the address of a socket is short
        server.bind("socket.wav")
        await site.look()
    assert await site.jobs() == []
    assert (secret / "call.wav").exists()


async def test_a_path_that_becomes_a_link_after_the_scan_is_not_followed(site: Site, tmp_path: Path) -> None:
    path = site.drop("sub/call.wav")
    scanned = site.watch._new

    async def swapped(candidates):  # type: ignore[no-untyped-def]
        path.parent.rename(tmp_path / "moved")
        path.parent.symlink_to(tmp_path / "moved")
        return await scanned(candidates)

    site.watch._new = swapped  # type: ignore[method-assign]
    await site.look()
    assert await site.jobs() == []


async def test_a_side_file_overrides_the_options_of_the_folder(site: Site) -> None:
    site.restart(options={"language": "en", "priority": 7, "webhook_url": "https://crm.example/1"})
    site.drop("call.wav")
    site.drop("call.json", json.dumps({"language": "de", "external_id": "4711", "webhook_url": None}).encode())
    site.drop("plain.wav")
    site.drop("plain.mp3", tone())
    site.drop("plain.mp3.json", b'\xef\xbb\xbf{"language": "fr"}')
    await site.look()
    jobs = {job.filename: job for job in await site.jobs()}
    assert {name: job.options["language"] for name, job in jobs.items()} == {
        "call.wav": "de",
        "plain.wav": "en",
        "plain.mp3": "fr",
    }
    job = jobs["call.wav"]
    assert (job.external_id, job.priority, job.webhook_urls) == ("4711", 7, [])
    assert f".accepted/{job.id}/call.json" in site.files


async def test_a_recording_waits_for_a_side_file_that_is_being_written(site: Site) -> None:
    site.drop("call.wav")
    site.drop("call.json", b'{"language": "d', age=60)
    await site.look()
    site.drop("other.wav")
    site.drop("other.json", b"{}", age=1)
    await site.look()
    assert (await site.jobs(), len(site.files)) == ([], 4)


async def test_a_job_that_was_written_before_a_crash_is_found_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.drop("call.wav")
    site.drop("call.json", b'{"language": "de"}')

    async def crash(*_: object) -> None:
        raise FolderUnavailable("killed")

    with monkeypatch.context() as patch:
        patch.setattr(taking.Taker, "move", crash)
        with pytest.raises(FolderUnavailable):
            await site.look()
    assert site.files == ["call.json", "call.wav"]
    site.restart()
    await site.look()
    [job] = await site.jobs()
    assert site.files == [f".accepted/{job.id}/call.json", f".accepted/{job.id}/call.wav"]


async def test_a_file_that_is_sent_again_is_a_new_job(site: Site) -> None:
    for _ in range(2):
        site.drop("call.wav")
        await site.look()
    first, second = await site.jobs()
    assert first.sha256 == second.sha256
    assert site.files == sorted(f".accepted/{job.id}/call.wav" for job in (first, second))


async def test_two_processes_take_each_file_once(site: Site) -> None:
    for number in range(8):
        site.drop(f"call-{number}.wav")
    other = site.open(site.options)
    await asyncio.gather(site.look(), other.look())
    await site.look()
    jobs = await site.jobs()
    assert sorted(job.filename or "" for job in jobs) == [f"call-{number}.wav" for number in range(8)]
    assert all(name.startswith(".accepted/") for name in site.files)


async def test_a_full_queue_leaves_the_others_in_the_folder(site: Site) -> None:
    for number in range(12):
        site.drop(f"call-{number:02}.wav", age=1000 - number)
    await site.look()
    taken = [job.filename for job in await site.jobs()]
    assert sorted(name or "" for name in taken) == [f"call-{number:02}.wav" for number in range(10)]
    assert {"call-10.wav", "call-11.wav"} <= set(site.files)


@pytest.mark.parametrize(
    "trouble", [QueueFull("full", retry_after=3), OSError("no database"), InterfaceError("", {}, Exception())]
)
async def test_trouble_of_the_service_leaves_the_file_in_the_folder(
    site: Site, trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.drop("call.wav")

    async def fail(*_: object, **__: object) -> None:
        raise trouble

    monkeypatch.setattr("app.intake.intake.Intake.accept", fail)
    with pytest.raises((QueueFull, *DATABASE_TROUBLE)):
        await site.look()
    assert site.files == ["call.wav"]


async def test_a_file_that_cannot_be_taken_keeps_no_other_file_from_being_taken(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = site.watch._disk.place.open

    def refuse(parts: tuple[str, ...]) -> int:
        if parts[-1] == "bad.wav":
            raise PermissionError(13, "Permission denied")
        return opened(parts)

    monkeypatch.setattr(site.watch._disk.place, "open", refuse)
    site.drop("bad.wav", age=9000)
    site.drop("good.wav")
    await site.look()
    [job] = await site.jobs()
    assert (job.filename, job.status) == ("good.wav", Status.PENDING)
    assert site.watch.trouble is not None
    assert "bad.wav: Permission denied" in site.watch.trouble


async def test_a_folder_whose_disk_is_not_mounted_is_reported(site: Site) -> None:
    site.root.rename(site.root.with_name("unmounted"))
    site.root.mkdir()
    with pytest.raises(FolderUnavailable, match="is its disk mounted"):
        await site.look()


async def test_the_watch_takes_what_comes_until_the_process_stops(site: Site) -> None:
    watching = asyncio.create_task(site.watch.run())

    async def taken(count: int) -> bool:
        return len(await site.jobs()) == count

    for count in (1, 2):
        site.drop(f"call-{count}.wav")
        await until(partial(taken, count))
    await site.watch.drain(5.0)
    await site.watch.idle()
    await watching
    assert site.watch.trouble is None
