"""How the OpenAI-shaped routes wait for a job: repeated requests, lost clients, and jobs without a transcript."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.access.callers import ANONYMOUS, Caller
from app.api import event_streams
from app.api.openai import job_end, streaming
from app.database.connections import Database
from app.errors import Abandoned
from app.jobs.changes import awaited, changing
from app.jobs.claims import parts
from app.jobs.claims.parts import Part
from app.jobs.lifecycle import Failed, Outcome
from app.jobs.reads import waiting as waiting_room
from app.jobs.reads.reading import Read
from app.speech.speakers import voices
from app.transcripts.transcript import Channel, Segment, Transcript
from testing.listening import Listening, listening
from testing.recordings import tone
from testing.rows import FORGET_AUDIO, SUCCESS, claim, execute, finish
from testing.rows import read as read_row
from testing.waiting import soon, until

TRANSCRIPTIONS, TRANSCRIBE = "/v1/audio/transcriptions", "/v1/transcribe"
GOOD_MORNING = Segment(0, 0, "speaker", 0.0, 0.5, "Good morning.", "en")
HOW_ARE_YOU = Segment(1, 0, "speaker", 0.5, 1.0, "How are you?", "en")
CALL = Transcript("en", 1.0, 1.0, (Channel(0, "speaker", "en", 1.0, 1.0),), (GOOD_MORNING, HOW_ARE_YOU))
SPOKEN = replace(SUCCESS, transcript=CALL)
Answer = asyncio.Task[httpx.Response]


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """No notification reaches these services, so that they find changes by polling."""
    monkeypatch.setattr(waiting_room, "POLL_SECONDS", 0.05)


def post(service: Listening, path: str = TRANSCRIPTIONS, recording: bytes | None = None, **fields: str) -> Answer:
    """Sends a request, whose answer the test awaits later."""
    part = "audio" if path == TRANSCRIBE else "file"
    files = {part: ("call.wav", tone() if recording is None else recording)}
    return asyncio.create_task(service.client.post(path, files=files, data=fields))


async def job_ids(database: Database) -> list[UUID]:
    async with database.engine.connect() as connection:
        rows = await connection.exec_driver_sql("SELECT id FROM transcription ORDER BY id")
        return [row[0] for row in rows]


async def new_job(database: Database, jobs: int = 1) -> UUID:
    """Waits until there are so many jobs. Returns the id of the newest one."""

    async def exist() -> bool:
        return len(await job_ids(database)) == jobs

    await until(exist)
    return (await job_ids(database))[-1]


async def ended(database: Database, outcome: Outcome) -> None:
    """Does what a worker does with a job."""
    await new_job(database)
    [job] = await claim(database)
    await finish(database, job, outcome)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    return error


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


async def test_the_answer_names_the_job_which_has_the_priority_of_somebody_who_waits(
    database: Database, tmp_path: Path
) -> None:
    async with listening(database, tmp_path) as service:
        waiting = post(service)
        await ended(database, SPOKEN)
        answer = await waiting
        assert answer.json()["text"] == "Good morning. How are you?"
        job = (await service.client.get(f"/v1/transcriptions/{answer.headers['X-Callscribe-Id']}")).json()
    assert (job["status"], job["options"]["priority"]) == ("completed", 3)


async def test_a_key_that_may_not_be_so_urgent_waits_with_its_own_priority(database: Database, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"api_keys": "test:secret", "priority_ceilings": "test:7"}
    async with listening(database, tmp_path, **settings) as service:
        service.client.headers["Authorization"] = "Bearer secret"
        waiting = post(service)
        assert (await read_row(database, await new_job(database))).priority == 7
        await ended(database, SPOKEN)
        assert (await waiting).status_code == 200


async def test_the_short_route_answers_with_the_text_alone(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as service:
        waiting = post(service, TRANSCRIBE, language="auto")
        await ended(database, SPOKEN)
        assert (await waiting).json() == {"text": "Good morning. How are you?"}


async def test_a_client_that_hangs_up_and_comes_back_gets_the_same_job(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as service:
        first = post(service)
        job = await new_job(database)
        first.cancel()
        second, third = post(service), post(service, response_format="text", temperature="0")
        await ended(database, SPOKEN)
        assert {answer.headers["X-Callscribe-Id"] for answer in (await second, await third)} == {str(job)}
        assert [path.name for path in service.stored_files()] == [str(job)]
        later = await post(service, response_format="srt")
        assert later.headers["X-Callscribe-Id"] == str(job)
    assert await job_ids(database) == [job]


@pytest.mark.parametrize(
    "changed", [{"recording": tone(0.3)}, {"language": "de"}, {"prompt": "garden"}, {"path": "/v1/audio/translations"}]
)
async def test_another_recording_or_option_is_another_job(
    database: Database, tmp_path: Path, changed: dict[str, Any]
) -> None:
    async with listening(database, tmp_path) as service:
        waiting = [post(service)]
        await new_job(database)
        waiting.append(post(service, **changed))
        await new_job(database, jobs=2)
        for answer in waiting:
            answer.cancel()


async def test_a_repeated_request_needs_no_place_in_a_full_queue(database: Database, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_pending": 1}
    async with listening(database, tmp_path, **settings) as service:
        first = post(service)
        job = await new_job(database)
        refused = await post(service, recording=tone(2.0))
        assert (refused.status_code, error_of(refused)["type"]) == (429, "rate_limit_error")
        assert int(refused.headers["Retry-After"]) > 0
        again = post(service)
        await ended(database, SPOKEN)
        assert {(await answer).headers["X-Callscribe-Id"] for answer in (first, again)} == {str(job)}


async def test_a_new_request_of_the_same_size_is_refused_by_a_full_queue(database: Database, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_pending": 1}
    async with listening(database, tmp_path, **settings) as service:
        first = post(service)
        await new_job(database)
        refused = await post(service, recording=tone(hertz=880.0))
        assert refused.status_code == 429
        assert len(service.stored_files()) == 1
        first.cancel()


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (Failed("bad_media", "It is broken."), 400, "bad_media"),
        (Failed("worker_crashed", "No."), 500, "worker_crashed"),
    ],
)
async def test_a_failed_job_is_an_error_that_the_client_does_not_repeat(
    database: Database, tmp_path: Path, outcome: Failed, status: int, code: str
) -> None:
    async with listening(database, tmp_path) as service:
        waiting = post(service)
        await ended(database, outcome)
        answer = await waiting
        assert (answer.status_code, error_of(answer)["code"]) == (status, code)
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["X-Callscribe-Id"]
        again = post(service)
        await new_job(database, jobs=2)
        again.cancel()


async def test_a_job_that_somebody_cancels_or_deletes_is_an_error(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as service:
        waiting = post(service)
        await service.client.post(f"/v1/transcriptions/{await new_job(database)}/cancel")
        cancelled = await waiting
        assert (cancelled.status_code, error_of(cancelled)["code"]) == (409, "cancelled")
        assert cancelled.headers["x-should-retry"] == "false"

        waiting = post(service)
        await service.client.delete(f"/v1/transcriptions/{await new_job(database, jobs=2)}")
        deleted = await waiting
    assert (deleted.status_code, error_of(deleted)["code"]) == (404, "not_found")


async def test_a_client_repeats_its_request_if_its_job_was_given_up_by_mistake(
    database: Database, tmp_path: Path
) -> None:
    async with listening(database, tmp_path) as service:
        waiting = post(service)
        job = await new_job(database)
        await execute(database, "UPDATE awaited_job SET awaited_until = now() - interval '1 s'")
        async with database.transaction() as session:
            assert await awaited.give_up(session, job)
            await changing.request_cancel(session, job, ANONYMOUS, FORGET_AUDIO, why=Abandoned())
        answer = await waiting
    assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert "x-should-retry" not in answer.headers


async def test_a_client_repeats_its_request_if_the_process_stops(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as service:
        waiting = [post(service), post(service, stream="true")]
        await new_job(database)
        await asyncio.sleep(0.2)
        service.service.close()
        whole, streamed = await asyncio.gather(*waiting)
        late = await post(service)
    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in (whole, late)] == [(503, "5")] * 2
    assert error_of(late)["code"] == "shutting_down"
    assert events_of(streamed)[-1]["error"]["code"] == "shutting_down"


async def test_a_client_that_may_not_wait_is_refused_before_its_recording_is_stored(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(database, tmp_path) as service:
        monkeypatch.setattr(service.service.waiting, "_most", 1)
        monkeypatch.setattr(service.service.waiting._holders, "_places", 1)
        first = post(service)
        await new_job(database)
        await asyncio.sleep(0.2)
        refused = await post(service)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        first.cancel()
    assert len(await job_ids(database)) == 1


async def test_a_stream_sends_final_text_while_the_job_runs_and_none_of_it_twice(
    database: Database, tmp_path: Path
) -> None:
    async with listening(database, tmp_path) as service:
        waiting = post(service, stream="true")
        await new_job(database)
        [job] = await claim(database)
        async with database.transaction() as session:
            assert await parts.write(session, job, Part(0, 0.5, (GOOD_MORNING,)))
        await asyncio.sleep(0.3)
        await finish(database, job, SPOKEN)
        events = events_of(await waiting)
    assert [event["type"].rpartition(".")[2] for event in events] == ["delta", "delta", "done"]
    assert "".join(event["delta"] for event in events[:2]) == events[2]["text"] == "Good morning. How are you?"
    assert events[2]["usage"] == {"type": "duration", "seconds": 1}


async def test_a_quiet_stream_is_kept_awake_and_ends_with_the_error_of_its_job(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "QUIET_SECONDS", 0.1)
    async with listening(database, tmp_path) as service:
        waiting = post(service, stream="true")
        await new_job(database)
        await asyncio.sleep(0.3)
        await ended(database, Failed("no_audio", "It is silent."))
        answer = await waiting
    assert answer.status_code == 200
    assert ": the transcription goes on" in answer.text
    assert events_of(answer) == [
        {
            "error": {
                "message": "It is silent.",
                "type": "invalid_request_error",
                "param": "file",
                "code": "no_audio",
            }
        }
    ]


async def test_a_fault_of_the_service_ends_a_stream_with_an_error(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(transcription_id: UUID, caller: Caller) -> Read:
        raise RuntimeError

    async with listening(database, tmp_path) as service:
        waiting = post(service, stream="true")
        await new_job(database)
        monkeypatch.setattr(service.service.reader, "read", fail)
        service.service.parts.signals.wake()
        [event] = events_of(await waiting)
    assert event["error"]["code"] == "internal_error"


async def test_a_stream_that_only_repeats_known_text_is_kept_awake(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second attempt writes the text of the first one again, and each part of it wakes the stream."""
    monkeypatch.setattr(event_streams, "QUIET_SECONDS", 0.3)
    async with listening(database, tmp_path) as service:
        waiting = post(service, stream="true")
        await new_job(database)
        [job] = await claim(database)
        for number in range(10):
            async with database.transaction() as session:
                await parts.write(session, job, Part(number, 0.5, (GOOD_MORNING,)))
            service.service.parts.signals.wake()
            await asyncio.sleep(0.1)
        await finish(database, job, SPOKEN)
        answer = await waiting
    assert answer.text.count(": the transcription goes on") >= 2
    assert [event["type"].rpartition(".")[2] for event in events_of(answer)] == ["delta", "delta", "done"]


@pytest.mark.parametrize("stream", ["false", "true"])
async def test_a_client_keeps_waiting_while_the_database_is_away(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(job_end, "TROUBLE_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(streaming, "TROUBLE_PAUSE_SECONDS", 0.05)
    async with listening(database, tmp_path) as service:
        waiting = post(service, stream=stream)
        await new_job(database)
        read_jobs, troubles = service.service.reader.read, iter(range(3))

        async def read(transcription_id: UUID, caller: Caller) -> Read:
            if next(troubles, None) is not None:
                raise ConnectionResetError
            return await read_jobs(transcription_id, caller)

        monkeypatch.setattr(service.service.reader, "read", read)
        service.service.parts.signals.wake()
        await soon(lambda: next(troubles, None) is None)
        await ended(database, SPOKEN)
        answer = await waiting
    assert answer.status_code == 200
    assert "How are you?" in answer.text
    assert "error" not in answer.text


async def test_a_client_that_knows_no_chunks_gets_a_stream_that_ends_with_its_connection(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "QUIET_SECONDS", 0.1)
    async with listening(database, tmp_path) as service:
        form = httpx.Request("POST", "http://x", files={"file": ("call.wav", tone())}, data={"stream": "true"})
        body = form.read()
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        head = f"POST {TRANSCRIPTIONS} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {form.headers['Content-Type']}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        headers = (await reader.readuntil(b"\r\n\r\n")).decode()
        early = (await reader.readline()).decode()
        await ended(database, SPOKEN)
        events = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    assert "transfer-encoding" not in headers.lower()
    assert "connection: close" in headers.lower()
    assert early == ": the transcription goes on\n"
    assert [line[:5] for line in events.splitlines() if line.startswith("d")] == ["data:"] * 3


async def test_the_short_route_ignores_fields_that_shape_the_answer(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as service:
        waiting = post(service, TRANSCRIBE, response_format="diarized_json", stream="true")
        await ended(database, SPOKEN)
        assert (await waiting).json() == {"text": "Good morning. How are you?"}


async def test_the_recording_is_asked_for_by_the_name_of_its_part(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as service:
        unnamed = await service.client.post(TRANSCRIPTIONS, files={"audio": ("call.wav", tone())})
        json_body = await service.client.post(TRANSCRIPTIONS, json={"input_audio": {"data": "", "format": "wav"}})
        both = [await service.client.post(TRANSCRIBE, data={"model": "base"}, files={"x": ("x", b"x")})]
    assert [error_of(answer)["message"] for answer in (unnamed, json_body, *both)] == [
        "The form has no part named `file`. file: is missing",
        "Send multipart/form-data, with the recording in a part named `file`.",
        "The form has no part named `audio`. audio: is missing",
    ]


async def test_a_request_that_joins_a_job_is_checked_as_if_it_made_one(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(database, tmp_path) as service:
        monkeypatch.setattr(voices, "installed", lambda: True)
        waiting = post(service, response_format="diarized_json")
        await ended(database, SPOKEN)
        assert (await waiting).status_code == 200
        monkeypatch.setattr(voices, "installed", lambda: False)
        refused = await post(service, response_format="diarized_json")
    assert (refused.status_code, error_of(refused)["param"]) == (400, "response_format")


async def test_a_job_is_rendered_once_for_all_clients_that_want_the_same(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(database, tmp_path) as service:
        read_transcript, reads = service.service.reader._unaudited_transcript, list[UUID]()

        async def transcript(transcription_id: UUID, caller: Caller, render: Any) -> Any:
            reads.append(transcription_id)
            return await read_transcript(transcription_id, caller, render)

        monkeypatch.setattr(service.service.reader, "_unaudited_transcript", transcript)
        waiting = [post(service) for _ in range(10)] + [post(service, response_format="text") for _ in range(10)]
        job = await new_job(database)
        await soon(lambda: service.service.waiting._jobs[job] == 20)
        await ended(database, SPOKEN)
        answers = await asyncio.gather(*waiting)
    assert [answer.status_code for answer in answers] == [200] * 20
    assert reads == [job] * 2


async def test_an_answer_that_ends_a_wait_badly_names_the_job_too(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as service:
        waiting = post(service)
        job = await new_job(database)
        await service.client.delete(f"/v1/transcriptions/{job}")
        answer = await waiting
    assert (answer.status_code, answer.headers["X-Callscribe-Id"]) == (404, str(job))


async def test_large_fields_that_are_not_known_are_skipped(database: Database, tmp_path: Path) -> None:
    fields = {"known_speaker_references[]": "data:audio/wav;base64," + "A" * 100_000}
    async with listening(database, tmp_path) as service:
        waiting = post(service, TRANSCRIPTIONS, None, **fields)
        await ended(database, SPOKEN)
        assert (await waiting).status_code == 200
