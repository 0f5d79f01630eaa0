"""Outputs: a real S3 server and a real folder, and the notifications that wait for them."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid5

import pytest

from app.database.connections import Database
from app.deliveries import outbox, outputs_of_events
from app.deliveries.channels import Channel, Outgoing, Reply, Result
from app.deliveries.folder import FolderChannel
from app.deliveries.models import DeliveryStatus, OutputStatus, Style
from app.deliveries.notify_status import NotifyStatus
from app.deliveries.outputs import Output
from app.deliveries.s3 import TRANSCRIPT_GONE, S3Channel
from app.jobs.changes import changing
from app.jobs.lifecycle import Failed
from app.jobs.models import Transcription
from app.jobs.reads.reading import Reader
from app.jobs.reads.rendering import rendered
from app.storage.file_url import file_url
from app.transcripts.formats import Format
from testing.rows import TESTER, execute
from testing.s3_server import S3Server, s3_serving
from tests.deliveries.conftest import attempts, deliveries, end, sending_by, settled, tried
from tests.deliveries.test_channels import ListChannel


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


BOTH = (Format.JSON, Format.SRT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    folder.chmod(0o2750)
    return folder


@pytest.fixture
def folder_channel(database: Database, folder: Path) -> FolderChannel:
    return FolderChannel(partial(rendered, database), [folder])


@pytest.fixture(scope="module")
def s3() -> AsyncIterator[S3Server]:  # type: ignore[misc]
    with s3_serving() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        server.create_bucket("results")
        yield server


def output(path: Path, *formats: Format) -> list[Output]:
    return [Output(file_url(path), formats)]


async def read(database: Database, job: Transcription) -> Any:
    return (await Reader(database).read(job.id, TESTER)).shown("")


async def test_a_webhook_waits_until_the_files_are_written_and_lists_them(
    database: Database, folder: Path, folder_channel: FolderChannel
) -> None:
    webhook = ListChannel(Result.DELIVERED)
    async with sending_by(database, {Style.WEBHOOK: webhook}):
        job = await end(database, "list://one", outputs=output(folder / "sub" / "call 你好", *BOTH))
        waiting = await deliveries(database, job.id)
    assert ([one.style for one in waiting], webhook.sent) == ([Style.FOLDER, Style.FOLDER, Style.WEBHOOK], [])
    shown = await read(database, job)
    assert [one.status for one in shown.outputs] == [OutputStatus.PENDING] * 2
    assert shown.notify_status == NotifyStatus.NOT_NOTIFIED
    async with sending_by(database, {Style.WEBHOOK: webhook, Style.FOLDER: folder_channel}):
        await settled(database, job.id)
    files = names(folder / "sub")
    assert files == ["call 你好.json", "call 你好.srt"]
    assert json.loads((folder / "sub" / files[0]).read_text())["id"] == str(job.id)
    [sent] = webhook.sent
    urls = [file_url(folder / "sub" / name) for name in files]
    assert json.loads(sent.body)["data"]["outputs"] == [
        {"url": url, "format": form, "status": "written"} for url, form in zip(urls, BOTH, strict=True)
    ]
    shown = await read(database, job)
    assert [(one.url, one.status) for one in shown.outputs] == [(url, OutputStatus.WRITTEN) for url in urls]
    assert shown.notify_status == NotifyStatus.NOTIFIED


async def test_a_file_has_the_rights_of_its_folder(
    database: Database, folder: Path, folder_channel: FolderChannel
) -> None:
    before = os.umask(0o077)
    try:
        async with sending_by(database, {Style.FOLDER: folder_channel}):
            await settled(database, (await end(database, outputs=output(folder / "sub" / "call", *BOTH))).id)
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "sub").stat().st_mode) == 0o2750
    assert stat.S_IMODE((folder / "sub" / "call.srt").stat().st_mode) == 0o640


async def test_two_outputs_that_end_together_release_the_webhook(database: Database) -> None:
    arrived = asyncio.Barrier(2)

    class TogetherChannel:
        async def send(self, delivery: Outgoing) -> Reply:
            await arrived.wait()
            return await ListChannel(Result.DELIVERED).send(delivery)

    channels: dict[Style, Channel] = {Style.WEBHOOK: ListChannel(*[Result.DELIVERED] * 5), Style.S3: TogetherChannel()}
    async with sending_by(database, channels):
        for _ in range(5):
            job = await end(database, "list://one", outputs=[Output("s3://results/a", BOTH)])
            settled_ones = await settled(database, job.id)
            assert {one.status for one in settled_ones} == {DeliveryStatus.DELIVERED}


async def test_an_output_that_has_failed_for_good_releases_the_webhook_which_says_so(database: Database) -> None:
    webhook = ListChannel(Result.DELIVERED)
    refusing = ListChannel(Result.DELIVERED, Result.REFUSED)
    async with sending_by(database, {Style.WEBHOOK: webhook, Style.S3: refusing}):
        job = await end(database, "list://one", outputs=[Output("s3://results/a", BOTH)])
        await settled(database, job.id)
    statuses = [one["status"] for one in json.loads(webhook.sent[0].body)["data"]["outputs"]]
    assert sorted(statuses) == ["failed", "written"]
    shown = await read(database, job)
    assert (sorted(one.status for one in shown.outputs), shown.notify_status) == (["failed", "written"], "notified")


async def test_an_output_can_be_written_again_and_notifies_nobody_again(
    database: Database, folder: Path, folder_channel: FolderChannel
) -> None:
    webhook = ListChannel(Result.DELIVERED)
    async with sending_by(database, {Style.WEBHOOK: webhook, Style.FOLDER: folder_channel}):
        job = await end(database, "list://one", outputs=output(folder / "call", Format.TEXT))
        written = (await settled(database, job.id))[0]
        (folder / "call.txt").unlink()
        async with database.transaction() as session:
            await changing.redeliver(session, written.id, TESTER)
        await settled(database, job.id)
    assert ((folder / "call.txt").exists(), len(webhook.sent)) == (True, 1)


async def test_a_folder_that_is_not_there_is_not_made(
    database: Database, tmp_path: Path, folder: Path, folder_channel: FolderChannel
) -> None:
    await asyncio.to_thread(folder.rmdir)  # as a disk that is not mounted
    async with sending_by(database, {Style.FOLDER: folder_channel}):
        job = await end(database, outputs=output(folder / "sub" / "call", Format.TEXT))
        [delivery] = await tried(database, job.id)
    assert [one.error for one in await attempts(database, delivery)] == ["No such file or directory"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["link/call", "deep/new/call", "../call"])
async def test_nothing_is_written_outside_the_folder(
    database: Database, tmp_path: Path, folder: Path, folder_channel: FolderChannel, name: str
) -> None:
    (folder / "link").symlink_to(tmp_path)
    (folder / "deep").symlink_to(tmp_path)
    async with sending_by(database, {Style.FOLDER: folder_channel}):
        await tried(database, (await end(database, outputs=output(folder / name, Format.TEXT))).id)
    assert names(tmp_path) == ["results"]


async def test_an_attempt_removes_what_an_earlier_one_left(
    database: Database, folder: Path, folder_channel: FolderChannel
) -> None:
    job = await end(database, outputs=output(folder / "call", Format.TEXT))
    [delivery] = await deliveries(database, job.id)
    (folder / f".{uuid5(delivery.event_id, delivery.url).hex}.abc.part").write_text("half of it")
    (folder / ".of-another.part").touch()
    async with sending_by(database, {Style.FOLDER: folder_channel}):
        await settled(database, job.id)
    assert names(folder) == [".of-another.part", "call.txt"]


async def test_an_object_has_its_content_type(database: Database, s3: S3Server) -> None:
    async with sending_by(database, {Style.S3: S3Channel(partial(rendered, database))}):
        name = "s3://results/2026/call 你好 50%25"
        job = await end(database, outputs=[Output(name, (Format.JSON, Format.VTT))])
        written = await settled(database, job.id)
    assert [one.status for one in written] == [DeliveryStatus.DELIVERED] * 2
    types = {}
    for path in s3.files("results"):
        answer = s3.filer.get(path.replace("%", "%25"))
        types[path.rpartition("/")[2]] = answer.headers["Content-Type"].partition(";")[0]
    assert types == {"call 你好 50%25.json": "application/json", "call 你好 50%25.vtt": "text/vtt"}


async def test_a_bucket_that_is_not_there_is_tried_again_and_readiness_can_know(
    database: Database, s3: S3Server
) -> None:
    async with sending_by(database, {Style.S3: S3Channel(partial(rendered, database))}):
        job = await end(database, outputs=[Output("s3://nowhere/a", (Format.JSON,))])
        [delivery] = await tried(database, job.id)
        async with database.transaction() as session:
            assert await outputs_of_events.troubled_styles(session) == []  # it may be a moment's trouble
        await execute(database, "UPDATE delivery SET next_attempt_at = now()")
        [delivery] = await tried(database, job.id, times=2)
    errors = {one.error for one in await attempts(database, delivery)}
    assert (delivery.status, errors <= {"NoSuchBucket", "AccessDenied"}) == (DeliveryStatus.PENDING, True), errors
    async with database.transaction() as session:
        assert await outputs_of_events.troubled_styles(session) == [Style.S3]


async def test_without_a_transcript_there_are_no_more_attempts(
    database: Database, folder: Path, folder_channel: FolderChannel
) -> None:
    job = await end(database, outputs=output(folder / "call", Format.TEXT))
    await execute(database, "DELETE FROM transcript")
    async with sending_by(database, {Style.FOLDER: folder_channel}):
        [delivery] = await settled(database, job.id)
    [attempt] = await attempts(database, delivery)
    assert (delivery.status, attempt.error, names(folder)) == (DeliveryStatus.FAILED, TRANSCRIPT_GONE, [])


async def test_a_job_that_has_failed_writes_nothing_and_its_webhook_does_not_wait(database: Database) -> None:
    webhook = ListChannel(Result.DELIVERED)
    async with sending_by(database, {Style.WEBHOOK: webhook}):
        failed = Failed("bad_media", "The recording is broken.")
        job = await end(database, "list://one", outcome=failed, outputs=[Output("s3://results/a", BOTH)])
        await settled(database, job.id)
    assert json.loads(webhook.sent[0].body)["data"]["outputs"] == []
    async with database.transaction() as session:
        assert [one.style for _, one in await outbox.find(session, job.id)] == [Style.WEBHOOK]
