"""What happens to a recording of the folder when its job has ended, was deleted, or was never accepted."""

import errno
import json
import os
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import select

from app.database.connections import Database
from app.deliveries.models import DeliveryStatus
from app.intake.folder.place import FolderUnavailable
from app.intake.folder.taking import Taker
from app.jobs.lifecycle import Cancelled, Failed, Outcome, Status
from app.jobs.models import ErasedFile, Transcription
from app.jobs.reads.reading import Reader
from app.jobs.upkeep import erasure
from app.transcripts.entities import Entity
from app.transcripts.formats import Format
from testing.recordings import tone
from testing.rows import SUCCESS, claim, execute, finish
from testing.waiting import until
from tests.intake.folder.conftest import ANYBODY, Site, files_below

SOON = 0.001  # seconds: also what looks incomplete is believed after a moment


async def taken(site: Site, name: str = "sub/call.wav", outcome: Outcome | None = SUCCESS) -> Transcription:
    """Drops a file whose job then ends with this outcome."""
    site.drop(name)
    await site.look()
    if outcome is not None:
        [claimed] = await claim(site.database)
        await finish(site.database, claimed, outcome)
    return (await site.jobs())[-1]


async def written(database: Database, status: DeliveryStatus = DeliveryStatus.DELIVERED) -> None:
    """Ends all deliveries of outputs."""
    await execute(database, "UPDATE delivery SET status = :status, finished_at = now()", status=str(status))


async def refused(site: Site) -> None:
    """Looks at the folder until something is put aside."""

    async def something() -> bool:
        await site.look()
        return any(name.startswith(".refused/") for name in site.files)

    await until(something)


def problem(site: Site, path: str) -> Any:
    return json.loads((site.root / ".refused" / f"{path}.error.json").read_text())


async def test_a_recording_is_deleted_when_its_job_and_its_outputs_are_done(site: Site) -> None:
    job = await taken(site)
    await site.look()
    assert site.files == [f".accepted/{job.id}/sub/call.wav"]
    await written(site.database)
    await site.look()
    assert site.files == []
    assert [path.name for path in (site.root / ".accepted").iterdir()] == [".database"]


async def test_a_full_disk_is_cleared_and_recordings_are_still_taken_from_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await taken(site, "old.wav")
    await written(site.database)
    site.drop("new.wav")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("app.intake.folder.place.tempfile", SimpleNamespace(TemporaryFile=full))
    await site.look()
    assert f".accepted/{job.id}/old.wav" not in site.files
    assert [job.filename for job in await site.jobs()] == ["old.wav", "new.wav"]


async def test_a_recording_is_kept_if_that_is_wanted(site: Site) -> None:
    site.restart(keep=True, output=None)
    job = await taken(site)
    await site.look()
    assert site.files == [f".done/{job.id}/sub/call.wav"]
    await site.delete(job)
    await site.look()
    assert site.files == []


async def test_the_recording_of_a_cancelled_job_is_treated_as_that_of_a_completed_one(site: Site) -> None:
    await taken(site, outcome=Cancelled())
    await execute(site.database, "UPDATE transcription SET status = 'cancelled'")
    await site.look()
    assert site.files == []


async def test_the_recording_of_a_failed_job_is_put_aside_with_the_reason_and_nothing_is_overwritten(
    site: Site,
) -> None:
    failed = Failed("bad_media", "The recording is broken at its end.")
    first = await taken(site, outcome=failed)
    await site.look()
    second = await taken(site, outcome=failed)
    await site.look()
    names = ["call.wav", "call.wav.error.json", "call~2.wav", "call~2.wav.error.json"]
    assert site.files == [f".refused/sub/{name}" for name in names]
    assert problem(site, "sub/call.wav") == {
        "type": "urn:callscribe:error:bad_media",
        "title": "The recording is broken",
        "status": 422,
        "detail": "The recording is broken at its end.",
        "code": "bad_media",
        "transcription": str(first.id),
    }
    await site.delete(second)
    await site.look()
    assert site.files == [".refused/sub/call.wav", ".refused/sub/call.wav.error.json"]


async def test_a_recording_that_is_moved_back_after_it_was_refused_is_a_new_job(site: Site) -> None:
    await taken(site, "call.wav", Failed("worker_crashed", "It crashed."))
    await site.look()
    (site.root / ".refused" / "call.wav").rename(site.root / "call.wav")
    await site.look()
    assert [job.status for job in await site.jobs()] == [Status.FAILED, Status.PENDING]


async def test_a_recording_whose_outputs_cannot_be_written_is_put_aside(site: Site) -> None:
    job = await taken(site, "call.wav")
    await written(site.database, DeliveryStatus.FAILED)
    await site.look()
    assert site.files == [".refused/call.wav", ".refused/call.wav.error.json"]
    assert (problem(site, "call.wav")["code"], problem(site, "call.wav")["transcription"]) == (
        "output_failed",
        str(job.id),
    )


async def test_a_recording_that_grew_after_it_was_accepted_is_not_deleted(site: Site) -> None:
    job = await taken(site, "call.wav")
    with (site.root / ".accepted" / str(job.id) / "call.wav").open("ab") as file:
        file.write(b"the rest of the call")
    await written(site.database)
    await site.look()
    assert problem(site, "call.wav")["code"] == "recording_changed"
    assert (site.root / ".refused" / "call.wav").read_bytes() == tone() + b"the rest of the call"


async def test_a_deleted_transcription_erases_the_recording_wherever_it_is(site: Site) -> None:
    job = await taken(site, outcome=None)
    await site.delete(job)
    await site.look()
    assert (site.files, await site.jobs()) == ([], [])


async def test_a_deleted_transcription_erases_a_recording_that_was_not_moved_yet(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> None:
        raise FolderUnavailable("killed")

    site.drop("call.wav")
    with monkeypatch.context() as patch:
        patch.setattr(Taker, "move", killed)
        with pytest.raises(FolderUnavailable):
            await site.look()
    await site.delete((await site.jobs())[0])
    assert site.files == ["call.wav"]
    await site.look()
    assert (site.files, await site.jobs()) == ([], [])


async def test_retention_erases_a_recording_too(site: Site) -> None:
    await taken(site, outcome=Failed("bad_media", "broken"))
    async with site.database.transaction() as session:
        assert len(await erasure.erase_ended(session, timedelta(0), 10)) == 1
    await site.look()
    assert (site.files, await site.jobs()) == ([], [])


async def test_retention_leaves_what_the_folder_keeps(site: Site) -> None:
    site.restart(keep=True, output=None)
    job = await taken(site, "call.wav")
    await site.look()
    async with site.database.transaction() as session:
        assert len(await erasure.erase_ended(session, timedelta(0), 10)) == 1
    await site.look()
    assert site.files == [f".done/{job.id}/call.wav"]


async def test_a_job_that_is_unknown_as_in_a_restored_database_gives_its_recording_back(site: Site) -> None:
    site.drop("sub/call.json", b'{"language": "de"}')
    first = await taken(site, outcome=None)
    await execute(site.database, "DELETE FROM transcription")
    await site.look()
    [second] = await site.jobs()
    assert (second.id != first.id, second.options["language"]) == (True, "de")
    assert site.files == [f".accepted/{second.id}/sub/{name}" for name in ("call.json", "call.wav")]


async def test_what_is_forgotten_long_ago_leaves_no_rows(site: Site) -> None:
    for name in ("1.wav", "2.wav"):
        await site.delete(await taken(site, name, outcome=None))
        await site.look()
        await execute(site.database, "UPDATE erased_file SET used_at = used_at - interval '8 days'")
        site.restart()
    async with site.database.transaction() as session:
        assert len((await session.exec(select(ErasedFile))).all()) == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "unsupported_media"), (b"no recording", "unsupported_media"), (bytes(100_001), "too_large")],
)
async def test_a_recording_that_is_none_is_refused(site: Site, content: bytes, code: str) -> None:
    site.restart(settle_seconds=SOON)
    site.drop("call.wav", content)
    site.drop("call.json", b"{}")
    await refused(site)
    assert site.files == [".refused/call.json", ".refused/call.wav", ".refused/call.wav.error.json"]
    assert problem(site, "call.wav")["code"] == code


@pytest.mark.parametrize(
    ("side_file", "detail"),
    [
        (b'{"url": "https://crm.example/a.wav"}', "is not a field of this request"),
        (b'{"webhook_url": "http://10.0.0.1/"}', ""),
        (b"[]", ""),
        (b"{", ""),
    ],
)
async def test_a_side_file_that_is_not_valid_refuses_its_recording(site: Site, side_file: bytes, detail: str) -> None:
    site.restart(settle_seconds=SOON)
    site.drop("call.wav")
    site.drop("call.json", side_file)
    await refused(site)
    assert site.files == [".refused/call.json", ".refused/call.wav", ".refused/call.wav.error.json"]
    assert problem(site, "call.wav")["status"] == 422
    assert detail in str(problem(site, "call.wav").get("errors"))


async def test_a_long_name_leaves_room_for_the_reason(site: Site) -> None:
    site.restart(settle_seconds=SOON)
    site.drop("a" * 251 + ".wav", b"no recording")
    await refused(site)
    assert [len(name) for name in site.files] == [len(".refused/") + 244, len(".refused/") + 255]


WHISPER = {"text": " Hello.", "language": "en", "segments": [{"id": 0, "start": 0.5, "end": 2.0, "text": " Hello."}]}


async def test_a_recording_whose_output_is_there_is_not_transcribed_again(site: Site) -> None:
    site.restart(options={"callback_url": "http://127.0.0.1:9/done?fileName={file_name}"})
    output = site.output / "call.json"
    output.write_text(json.dumps(WHISPER))
    site.drop("call.wav")
    await site.look()
    await site.look()
    read = await Reader(site.database).read((await site.jobs())[0].id, ANYBODY)
    assert (read.job.status, read.job.language, read.job.duration, read.job.outputs) == ("completed", "en", 2.0, [])
    transcript = await Reader(site.database).transcript(read.job.id, ANYBODY, lambda transcript: transcript)
    assert [(each.start, each.end, each.text) for each in transcript.segments] == [(0.5, 2.0, "Hello.")]
    async with site.database.engine.connect() as connection:
        rows = list(await connection.execute(text("SELECT style, url, status FROM delivery")))
    assert [tuple(row) for row in rows] == [("callback", "http://127.0.0.1:9/done?fileName=call.wav", "pending")]
    assert (site.files, files_below(site.output), json.loads(output.read_text())) == ([], ["call.json"], WHISPER)
    assert files_below(site.store.folder) == [".callscribe-audio"]


async def test_an_output_that_may_not_be_redacted_does_not_count(site: Site) -> None:
    site.restart(options={"redact": True})
    (site.output / "call.json").write_text(json.dumps(WHISPER))
    job = await taken(site, "call.wav", outcome=None)
    assert (job.status, len(job.options["redact"])) == (Status.PENDING, len(Entity))


async def test_an_output_that_was_only_partly_written_does_not_count(site: Site) -> None:
    (site.output / "call.json").write_text('{"text": "Hel')
    job = await taken(site, "call.wav", outcome=None)
    assert job.status == Status.PENDING


@pytest.mark.parametrize(
    "content",
    [
        '{"segments": [{"start": 0, "end": 1e300, "text": "long"}]}',
        '{"segments": [{"start": 0, "end": NaN, "text": "never"}]}',
        '{"segments": [{"start": 0, "end": Infinity, "text": "endless"}]}',
        '{"segments": [{"start": 2, "end": 1, "text": "backwards"}]}',
        '{"segments": [{"start": 0, "end": 1, "text": "a", "channel": 99999999999999999999}]}',
        '{"segments": [{"start": 0, "end": 1, "text": "a", "channel": Infinity}]}',
        '{"text": "half of a pair \\ud800"}',
        '{"text": "a", "language": "l\\ud800", "segments": [{"start": 0, "end": 1, "text": "a"}]}',
        "[" * 100_000,
    ],
)
async def test_an_output_that_no_transcript_can_hold_does_not_count(site: Site, content: str) -> None:
    (site.output / "call.json").write_text(content)
    job = await taken(site, "call.wav", outcome=None)
    assert job.status == Status.PENDING


async def test_a_pipe_in_the_place_of_an_output_does_not_count(site: Site) -> None:
    os.mkfifo(site.output / "call.json")
    job = await taken(site, "call.wav", outcome=None)
    assert job.status == Status.PENDING


async def test_a_nul_in_an_output_is_left_out(site: Site) -> None:
    (site.output / "call.json").write_text('{"text": "Good\\u0000 morning", "language": "e\\u0000n"}')
    job = await taken(site, "call.wav", outcome=None)
    transcript = await Reader(site.database).transcript(job.id, ANYBODY, lambda transcript: transcript)
    assert (job.status, transcript.segments[0].text) == (Status.COMPLETED, "Good morning")


async def test_all_outputs_must_be_there(site: Site) -> None:
    site.restart(formats=(Format.TEXT, Format.SRT))
    (site.output / "call.txt").write_text("Hello.\n")
    (site.output / "both.txt").write_text("Hello.\n")
    (site.output / "both.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello.\n")
    site.drop("call.wav")
    site.drop("both.wav")
    await site.look()
    assert {job.filename: job.status for job in await site.jobs()} == {"call.wav": "pending", "both.wav": "completed"}
