"""Jobs whose recording a worker fetches from a real HTTP server, on a real database and through the API."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import func, text
from sqlmodel import col, update
from uuid_utils.compat import uuid7

from app.jobs.changes import changing
from app.jobs.claims import leases, queue
from app.jobs.claims.capacity import FETCHES, NO_CAPACITY, SLOTS, Capacity
from app.jobs.claims.claiming import Claimed
from app.jobs.lifecycle import NOT_READY_DELAYS, Status
from app.jobs.models import Transcription
from app.jobs.views import RetryOut, TranscriptionOut
from app.jobs.worker import recording
from app.jobs.worker.blame import STORE_PAUSE
from app.storage.store import StoredAudio
from testing.forms import refused
from testing.hearing import FEW, missed
from testing.job_bench import Bench, waits_after, working
from testing.origin import Exchange, Origin, half_and_hang
from testing.recordings import call, said, tone
from testing.rows import KEEP_AUDIO, TESTER
from testing.service import Service, answered, eventually, serving
from tests.conftest import clone
from tests.jobs.conftest import asked

SECRET = "signature-4711"
NOTHING = "The server answered 404: there is no recording at this address"
GONE = "The server answered 410: the recording is no longer at this address"
PAGE = "The address answered with a web page, not a recording. It may require a login, or the link may have expired"
FINGERPRINT = "b7eb9ab2b112e7e4fa50890b8144b451ef01580ff989ac281d65186f468835bf"


@asynccontextmanager
async def fetching(bench: Bench, origin: Origin) -> AsyncIterator[Transcription]:
    """A running job whose fetch hangs."""
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/hanging.wav"))
        await asked(origin, "/hanging.wav")
        await asyncio.to_thread(eventually, lambda: bench.audio_files() != [])
        job = await bench.read(job_id)
        assert job is not None
        yield job


async def test_a_recording_is_fetched_decoded_and_erased(bench: Bench, origin: Origin) -> None:
    async with working(bench):
        job = await bench.ended(await bench.add(uuid7(), source=origin.url("/call.wav")))
    assert (job.status, job.bytes, job.codec, job.attempts) == (Status.COMPLETED, len(tone()), "pcm_s16le", 1)
    assert job.audio_key is None
    assert job.sha256 is not None
    assert bench.audio_files() == []


async def test_a_recording_that_was_fetched_is_not_fetched_again(bench: Bench, origin: Origin) -> None:
    bench.engine.error = RuntimeError("a fault")
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/call.wav"))
        await bench.until(job_id, partial(waits_after, 1))
        bench.engine.error = None
        await bench.hurry(job_id)
        job = await bench.ended(job_id)
    assert (job.status, job.attempts) == (Status.COMPLETED, 2)
    assert len(origin.asked) == 1
    assert bench.audio_files() == []


async def test_a_fetch_from_a_server_in_trouble_is_repeated_later_and_no_crash_is_counted(
    bench: Bench, origin: Origin, capsys: pytest.CaptureFixture[str]
) -> None:
    origin.answers["/call.wav"] = lambda exchange: exchange.whole(b"", 503)
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/call.wav"))
        job = await bench.until(job_id, partial(waits_after, 1))
        assert job.run_at > job.created_at
        assert job.error_code is None
        assert "The server answered 503." in "".join(capsys.readouterr())
        origin.answers["/call.wav"] = lambda exchange: exchange.whole(tone())
        await bench.hurry(job_id)
        job = await bench.ended(job_id)
    assert (job.status, job.attempts, job.crashes) == (Status.COMPLETED, 2, 0)


async def test_a_recording_that_is_not_there_yet_is_fetched_when_it_is(bench: Bench, origin: Origin) -> None:
    origin.answers["/call.wav"] = lambda exchange: exchange.whole(b"", 404)
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/call.wav"), filename="call.wav")
        waiting = await bench.until(job_id, partial(waits_after, 1))
        shown = TranscriptionOut.of(waiting)
        assert shown.retry == RetryOut(code="fetch_failed", message=f"{NOTHING}.", at=waiting.run_at)
        assert shown.error is None
        origin.answers["/call.wav"] = lambda exchange: exchange.whole(
            gzip.compress(tone()), Content_Encoding="gzip", Content_Disposition='attachment; filename="RE42.wav"'
        )
        await bench.hurry(job_id)
        job = await bench.ended(job_id)
    assert (job.status, job.attempts, job.filename, job.bytes) == (Status.COMPLETED, 2, "RE42.wav", len(tone()))
    assert (TranscriptionOut.of(job).retry, job.retry_code, job.retry_message) == (None, None, None)


async def test_a_recording_that_never_comes_fails_after_a_minute_and_says_so(bench: Bench, origin: Origin) -> None:
    origin.answers["/call.wav"] = lambda exchange: exchange.whole(b"", 404)
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/call.wav"))
        for attempts in range(1, len(NOT_READY_DELAYS) + 1):
            await bench.until(job_id, partial(waits_after, attempts))
            await bench.hurry(job_id)
        job = await bench.ended(job_id)
    message = f"{NOTHING}. The service tried 5 times, for about a minute."
    assert (job.status, job.error_code, job.error_message) == (Status.FAILED, "fetch_failed", message)
    assert (len(origin.asked), TranscriptionOut.of(job).retry) == (5, None)


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (lambda exchange: exchange.whole(b"", 410), "fetch_failed", f"{GONE}."),
        (lambda exchange: exchange.whole(b"<html>log in</html>"), "fetch_failed", f"{PAGE}."),
        (lambda exchange: exchange.whole(b"not a recording"), "unsupported_media", None),
    ],
    ids=["gone", "web page", "not a recording"],
)
async def test_a_job_fails_immediately_if_another_try_cannot_help(
    bench: Bench, origin: Origin, answer: Any, code: str, message: str | None
) -> None:
    origin.answers["/call.wav"] = answer
    async with working(bench):
        job = await bench.ended(await bench.add(uuid7(), source=origin.url("/call.wav")))
    assert (job.status, job.error_code, job.attempts) == (Status.FAILED, code, 1)
    assert message in (None, job.error_message)
    assert bench.audio_files() == []


async def test_cancelling_stops_a_fetch(bench: Bench, origin: Origin) -> None:
    async with fetching(bench, origin) as job:
        async with bench.database.transaction() as session:
            await changing.request_cancel(session, job.id, TESTER, KEEP_AUDIO)
        ended = await bench.ended(job.id)
    assert (ended.status, ended.error_code) == (Status.CANCELLED, None)
    assert bench.audio_files() == []


@pytest.mark.parametrize("change", [partial(changing.request_cancel, at_end=KEEP_AUDIO), changing.erase])
async def test_a_recording_that_was_fetched_but_is_in_no_row_is_erased_if_its_job_ends(
    bench: Bench, origin: Origin, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    attaching = asyncio.Event()

    async def hang(*_: object) -> bool:
        attaching.set()
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(queue, "attach_audio", hang)
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/call.wav"))
        await asyncio.wait_for(attaching.wait(), 10)
        async with bench.database.transaction() as session:
            await change(session, job_id, TESTER)
        await asyncio.wait_for(bench.runner.idle(), 10)
    assert bench.audio_files() == []


async def test_a_fetched_recording_that_cannot_be_written_to_its_job_stops_no_uploads(
    bench: Bench, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> bool:
        raise recording.NotWritten("the database refused it")

    monkeypatch.setattr(recording.Recordings, "attach", refuse)
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/call.wav"))
        await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
        assert (await bench.ended(await bench.enqueue(tone()))).status == Status.COMPLETED


async def test_deleting_stops_a_fetch_and_leaves_nothing(bench: Bench, origin: Origin) -> None:
    async with fetching(bench, origin) as job:
        async with bench.database.transaction() as session:
            await changing.erase(session, job.id, TESTER)
        await asyncio.wait_for(bench.runner.idle(), 10)
    assert await bench.read(job.id) is None
    assert bench.audio_files() == []


async def test_a_worker_that_stops_gives_a_fetch_back_without_a_penalty(bench: Bench, origin: Origin) -> None:
    async with fetching(bench, origin) as job:
        pass
    back = await bench.read(job.id)
    assert back is not None
    assert (back.status, back.attempts, back.crashes, back.audio_key) == (Status.PENDING, 0, 0, None)
    assert bench.audio_files() == []


async def test_a_late_fetch_of_a_lost_job_changes_nothing_and_is_erased(bench: Bench, origin: Origin) -> None:
    def after_all(exchange: Exchange) -> None:
        half_and_hang(exchange)
        exchange.wfile.write(tone()[1000:])

    origin.answers["/hanging.wav"] = after_all
    async with fetching(bench, origin) as job:
        async with bench.database.transaction() as session:
            gone = func.now() - timedelta(seconds=1)
            await session.exec(update(Transcription).where(col(Transcription.id) == job.id).values(lease_until=gone))
            await leases.take_back_lost(session, KEEP_AUDIO)
            await queue.claim(session, "another worker", NO_CAPACITY, Capacity(1))
        origin.over.set()
        await asyncio.wait_for(bench.runner.idle(), 10)
    theirs = await bench.read(job.id)
    assert theirs is not None
    assert (theirs.status, theirs.leased_by, theirs.audio_key) == (Status.IN_PROGRESS, "another worker", None)
    assert bench.audio_files() == []


@pytest.mark.parametrize("committed", [True, False])
async def test_a_fetched_recording_is_kept_if_the_database_connection_is_lost(
    bench: Bench, origin: Origin, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    attach, calls = queue.attach_audio, 0

    async def lose_the_first_reply(session: Any, job: Claimed, audio: StoredAudio, filename: str | None) -> bool:
        nonlocal calls
        calls += 1
        attached = await attach(session, job, audio, filename)
        if calls == 1:
            await (session.commit() if committed else session.rollback())
            raise ConnectionResetError
        return attached

    monkeypatch.setattr(queue, "attach_audio", lose_the_first_reply)
    monkeypatch.setattr(recording, "ATTACH_PAUSES_SECONDS", (0.0,))
    async with working(bench):
        job = await bench.ended(await bench.add(uuid7(), source=origin.url("/call.wav")))
    assert (job.status, job.attempts, calls, len(origin.asked)) == (Status.COMPLETED, 1, 2, 1)
    assert bench.audio_files() == []


@pytest.mark.parametrize("refused", [True, False])
async def test_a_fetch_that_the_database_cannot_record_is_repeated_only_after_a_pause(
    bench: Bench, origin: Origin, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    async def in_vain(session: Any, job: Claimed, audio: StoredAudio, filename: str | None) -> bool:
        if refused:
            await session.exec(text("SELECT 1 / 0"))
        raise ConnectionResetError

    monkeypatch.setattr(queue, "attach_audio", in_vain)
    monkeypatch.setattr(recording, "ATTACH_PAUSES_SECONDS", (0.0,))
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/call.wav"))
        job = await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
    assert job.run_at >= job.created_at + STORE_PAUSE
    assert (len(origin.asked), job.crashes, job.audio_key) == (1, 0, None)
    assert bench.audio_files() == []  # the row shows that it does not have the recording


async def test_servers_that_hang_do_not_delay_uploads(bench: Bench, origin: Origin) -> None:
    async with working(bench):
        for number in range(SLOTS + 1):
            await bench.add(
                uuid7(),
                source=origin.url("/hanging.wav"),
                source_host=f"host-{number % 2}",
                caller=f"key-{number // 2 % 2}",
            )
        await asked(origin, "/hanging.wav", FETCHES)
        assert (await bench.ended(await bench.enqueue(tone()))).status == Status.COMPLETED
    assert len(origin.headers_of("/hanging.wav")) == FETCHES


async def test_a_finished_fetch_makes_room_for_the_next_one(bench: Bench, origin: Origin) -> None:
    bench.engine.hang = True
    async with working(bench):
        for number in range(SLOTS + 1):
            await bench.add(uuid7(), source=origin.url("/call.wav"), caller=f"key-{number % 2}")
        await asked(origin, "/call.wav", SLOTS)
        bench.engine.release.set()
        await asked(origin, "/call.wav", SLOTS + 1)


def post_url(service: Service, url: str, key: str | None = None, **fields: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return service.client.post("/v1/transcriptions", json={"url": url, **fields}, headers=headers)


def test_a_request_with_a_url_is_answered_before_anything_is_fetched(guarded: Service) -> None:
    response = post_url(guarded, f"https://example.com/calls/2026%2F11/call%201.wav?{SECRET}#there", channels="split")
    assert response.status_code == 202
    job = answered(response)
    assert response.headers["Location"] == job["links"]["self"]
    assert job["audio"] == {
        "filename": "call 1.wav",
        "source": "https://example.com/calls/2026%2F11/call%201.wav",
        **dict.fromkeys(("bytes", "sha256", "duration", "codec", "sample_rate", "channels")),
    }
    assert (job["status"], job["options"]["channels"]) == ("pending", "split")
    assert guarded.client.delete(job["links"]["self"]).status_code == 204


def test_a_request_with_a_url_can_be_repeated_with_its_key(guarded: Service) -> None:
    url = "https://example.com/call.wav?a=1"
    first = post_url(guarded, url, "key-1", metadata={"a": 1, "b": 2})
    again = post_url(guarded, url, "key-1", metadata={"b": 2, "a": 1}, language="auto")
    assert (first.status_code, again.status_code) == (202, 200)
    assert answered(first)["id"] == answered(again)["id"]
    refused(post_url(guarded, "https://example.com/call.wav?a=2", "key-1"), 422, "idempotency_key_reused")
    refused(guarded.post(headers={"Idempotency-Key": "key-1"}), 422, "idempotency_key_reused")


async def test_a_fingerprint_stays_the_same_when_a_version_adds_fields(guarded: Service, guarded_database: str) -> None:
    url = "https://example.com/call.wav"
    await asyncio.to_thread(post_url, guarded, url, channels="split")
    await asyncio.to_thread(post_url, guarded, url, channels="split", language="auto", hotwords=[], prompt=None)
    database = await asyncpg.connect(guarded_database)
    found = await database.fetch("SELECT DISTINCT fingerprint FROM transcription")
    await database.close()
    assert [row["fingerprint"] for row in found] == [FINGERPRINT]


def test_a_full_queue_accepts_no_more_urls(guarded: Service) -> None:
    for _ in range(4):
        assert post_url(guarded, "https://example.com/call.wav").status_code == 202
    refused(post_url(guarded, "https://example.com/call.wav"), 429, "queue_full")


def story(service: Service, job_id: str) -> list[tuple[str, str]]:
    """The levels and the events of a job's log lines, which a search for its id in the field `job` finds."""
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    return [(line["level"], line["event"]) for line in lines if line.get("job") == job_id]


async def test_the_service_fetches_and_transcribes_even_after_it_was_killed(
    workspace: Path, origin: Origin, postgres: str, template: str
) -> None:
    folder = workspace / "fetching"

    def until_killed(**settings: str) -> dict[str, Any]:
        with serving(folder, **settings) as service:
            job = answered(post_url(service, origin.url(f"/hanging.wav?{SECRET}")))
            eventually(lambda: service.stored_files() != [])
            service.kill()
        return job

    def afterwards(killed: dict[str, Any], **settings: str) -> None:
        with serving(folder, **settings) as service:
            job = service.ended(answered(post_url(service, origin.url(f"/agent.wav?{SECRET}"), channels="split")))
            assert job["status"] == "completed"
            assert (job["audio"]["bytes"], job["audio"]["channels"]) == (len(call(0, 6)), 2)
            assert missed(said(0, 6), service.read(job["links"]["transcript"])["text"]) <= FEW
            missing = service.ended(answered(post_url(service, origin.url("/nothing.wav"))))
            assert missing["error"] == {"code": "fetch_failed", "message": f"{GONE}."}
            assert story(service, job["id"]) == [
                ("info", "request"),
                ("info", "attempt started"),
                ("info", "recording fetched"),
                ("info", "transcription completed"),
                ("info", "audit"),  # of the transcript that was read above
            ]
            assert story(service, missing["id"])[-1] == ("warning", "transcription failed")
            recovered = service.ended(killed)
            assert (recovered["status"], recovered["attempts"]) == ("completed", 2)
            assert SECRET not in service.log()

    async with clone(postgres, template) as address:
        settings = {"DATABASE_URL": address, "ALLOWED_NETWORKS": "127.0.0.0/8"}
        killed = await asyncio.to_thread(until_killed, **settings)
        database = await asyncpg.connect(address)
        await database.execute("UPDATE transcription SET lease_until = now()")  # as if thirty seconds had passed
        await database.close()
        origin.answers |= {
            "/agent.wav": lambda exchange: exchange.whole(call(0, 6)),
            "/hanging.wav": lambda exchange: exchange.whole(tone()),
            "/nothing.wav": lambda exchange: exchange.whole(b"", 410),
        }
        await asyncio.to_thread(afterwards, killed, **settings)


async def test_a_recording_that_is_fetched_is_raw_sound_if_its_name_says_so(bench: Bench, origin: Origin) -> None:
    origin.answers["/call.sln16"] = lambda exchange: exchange.whole(bytes(64_000))
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/call.sln16"), filename="call.sln16")
        job = await bench.ended(job_id)
    assert (job.status, job.duration, job.codec, job.sample_rate) == (Status.COMPLETED, 2, "pcm_s16le", 16_000)


async def test_the_name_that_the_server_gives_says_what_raw_sound_holds(bench: Bench, origin: Origin) -> None:
    name = 'attachment; filename="call.alaw"'
    origin.answers["/recording"] = lambda exchange: exchange.whole(bytes(16_000), Content_Disposition=name)
    async with working(bench):
        job = await bench.ended(await bench.add(uuid7(), source=origin.url("/recording")))
    assert (job.status, job.duration, job.codec, job.filename) == (Status.COMPLETED, 2, "pcm_alaw", "call.alaw")


async def test_what_was_left_out_is_in_the_warnings_of_the_job(bench: Bench) -> None:
    async with working(bench):
        unknown = b"LIST\4\0\0\0INFO" + bytes(range(1, 101))
        job = await bench.ended(await bench.enqueue(tone() + unknown))
    assert job.status == Status.COMPLETED
    [warning] = job.warnings
    assert warning["code"] == "left_out"
    assert warning["message"].startswith("100 bytes of the file were not transcribed")
