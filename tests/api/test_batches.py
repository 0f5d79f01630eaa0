"""The routes of batches, with a feeder that the tests move step by step."""

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.database.connections import Database
from app.jobs.lifecycle import Failed
from app.recording_batches import feeding
from testing.forms import refused
from testing.listening import Listening, listening
from testing.rows import SUCCESS, claim, enqueue, execute, finish
from testing.s3_server import S3Server
from testing.service import Service

HOST = "https://recordings.example.com"


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


async def posted(served: Listening, urls: list[str], **fields: Any) -> dict[str, Any]:
    answer = await served.client.post("/v1/batches", json={"source": {"urls": urls}, **fields})
    assert answer.status_code == 202, answer.text
    batch: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == batch["links"]["self"]
    return batch


async def uploaded(served: Listening, manifest: str | bytes, **fields: str) -> httpx.Response:
    return await served.client.post("/v1/batches", files={"file": ("calls.csv", manifest)}, data=fields)


async def fed(served: Listening, database: Database, batch: dict[str, Any]) -> dict[str, Any]:
    """Looks after all batches, also those that would be looked after a moment later. Returns the batch."""
    await execute(database, "UPDATE recording_batch SET look_at = now() WHERE status <> 'receiving'")
    await served.service.feeder.look_after_all()
    return await read(served, batch)


async def read(served: Listening, batch: dict[str, Any]) -> dict[str, Any]:
    served.service.batch_reader._counted.clear()
    answer = await served.client.get(batch["links"]["self"])
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def report(served: Listening, batch: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await served.client.get(batch["links"]["report"])
    recordings: list[dict[str, Any]] = answer.json()["recordings"]
    return recordings


def counts(batch: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in batch["counts"].items() if count}


def urls(many: int) -> list[str]:
    return [f"{HOST}/call-{number}.wav" for number in range(many)]


async def test_a_batch_of_urls_goes_from_feeding_to_completed(served: Listening, database: Database) -> None:
    batch = await posted(served, urls(3), name="2019", options={"channels": "split"})
    assert (batch["status"], batch["name"], counts(batch)) == ("feeding", "2019", {"total": 3, "waiting": 3})
    batch = await fed(served, database, batch)
    assert (batch["status"], counts(batch)) == ("running", {"total": 3, "pending": 3})
    jobs = await claim(database, 0, fetches=3)
    assert {(job.priority, job.options["channels"]) for job in jobs} == {(8, "split")}
    await finish(database, jobs[0], SUCCESS)
    halfway = await read(served, batch)
    assert (halfway["seconds_done"], halfway["seconds_to_go"]) == (1.0, 2.0)
    assert halfway["eta"] > halfway["created_at"]
    await finish(database, jobs[1], SUCCESS)
    await finish(database, jobs[2], Failed("transcription_failed", "it failed"))
    batch = await fed(served, database, batch)
    assert (batch["status"], counts(batch)) == ("completed", {"total": 3, "completed": 2, "failed": 1})
    assert (batch["seconds_to_go"], batch["eta"]) == (0.0, None)
    assert batch["completed_at"] is not None
    assert sorted(row["status"] for row in await report(served, batch)) == ["completed", "completed", "failed"]


async def test_an_idempotency_key_leads_to_the_first_batch(served: Listening) -> None:
    body, headers = {"source": {"urls": urls(1)}}, {"Idempotency-Key": "once"}
    first = await served.client.post("/v1/batches", json=body, headers=headers)
    again = await served.client.post("/v1/batches", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    other = await served.client.post("/v1/batches", json={**body, "name": "other"}, headers=headers)
    refused(other, 422, "idempotency_key_reused")
    files = {"file": ("calls.csv", f"url\n{HOST}/a.wav\n")}
    headers = {"Idempotency-Key": "manifest"}
    first = await served.client.post("/v1/batches", files=files, headers=headers)
    again = await served.client.post("/v1/batches", files=files, headers=headers)
    assert (first.status_code, again.status_code, again.json()["id"]) == (202, 200, first.json()["id"])
    assert len((await served.client.get("/v1/batches")).json()["items"]) == 2


@pytest.mark.parametrize(
    "manifest",
    [
        f'url,language,external_id,channel_labels\n{HOST}/1.wav,de,a,"x,y"\n\n{HOST}/2.wav,,b,\n',
        f"\ufeffurl;language;external_id;channel_labels\r\n{HOST}/1.wav;de;a;x,y\r\n{HOST}/2.wav;;b;\r\n",
        f'{{"url": "{HOST}/1.wav", "language": "de", "external_id": "a", "channel_labels": ["x", "y"]}}\n'
        f'{{"url": "{HOST}/2.wav", "external_id": "b", "language": null}}',
    ],
    ids=["commas", "semicolons", "json"],
)
async def test_a_row_of_a_manifest_overrides_the_options(served: Listening, database: Database, manifest: str) -> None:
    options = {"languages": ["en", "fr"], "channels": "split", "priority": 9}
    answer = await uploaded(served, manifest, options=json.dumps(options), name="by hand")
    assert answer.status_code == 202, answer.text
    assert answer.json()["name"] == "by hand"
    await fed(served, database, answer.json())
    first, second = await claim(database, 0, fetches=2)
    assert (first.options["language"], first.options["languages"], first.options["channel_labels"]) == (
        "de",
        [],
        ["x", "y"],
    )
    assert (second.options["language"], second.options["languages"]) == (None, ["en", "fr"])
    assert {first.priority, second.priority} == {9}
    assert [row["external_id"] for row in await report(served, answer.json())] == ["a", "b"]


@pytest.mark.parametrize(
    ("manifest", "errors"),
    [
        ("", {"header"}),
        ("url,langauge\nhttps://a/b.wav,de\n", {"header"}),
        (f"url\n{HOST}/a.wav\nnot a url\n", {"row 2: url"}),
        ("url\nftp://a/b.wav\nx\n", {"row 1: url", "row 2: url"}),
        ("url,language\nhttps://a/b.wav,xx\n", {"row 1: language"}),
        ("external_id,url\na\n", {"row 1: url"}),
        ("url\nhttps://a/b.wav,more\n", {"row 1"}),
        ('{"url": "https://a/b.wav"}\n{"url": \n', {"row 2"}),
        ('{"url": "https://a/b.wav", "x": 1}\n', {"row 1: x"}),
        ("url\n", {"file"}),
        (f"url\r{HOST}/a.wav\r", {"header"}),
        (f"url,url\n{HOST}/a.wav,\n", {"header"}),
        (f'"url\n{HOST}/a.wav\n', {"header"}),
        (f'url,external_id\n{HOST}/a.wav,a\n{HOST}/b.wav,"b\n{HOST}/c.wav,c\n', {"row 2"}),
        (f'url,external_id\n{HOST}/a.wav,"a"b\n', {"row 1"}),
        (f'url,external_id\n{HOST}/a.wav,"a\n{HOST}/b.wav,b"\n', {"row 1: external_id"}),
        ("url\n" + "bad\n" * 50, {f"row {number}: url" for number in range(1, 21)}),
    ],
)
async def test_a_wrong_row_is_named_and_nothing_is_accepted(
    served: Listening, database: Database, manifest: str, errors: set[str]
) -> None:
    problem = refused(await uploaded(served, manifest), 422, "invalid_request")
    assert {error["field"] for error in problem["errors"]} == errors
    assert (await served.client.get("/v1/batches")).json()["items"] == []
    await served.service.feeder.look_after_all()
    assert await count(database, "recording_batch") == 0


async def count(database: Database, table: str) -> int:
    async with database.engine.connect() as connection:
        found: int = (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
    return found


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_request", "source"),
        ({"source": "https://a/b.wav"}, "invalid_request", "source"),
        ({"source": "s3://calls/no-wildcard.wav"}, "invalid_request", "source"),
        ({"source": "s3://calls/*.wav"}, "url_not_allowed", "source"),
        ({"source": {"urls": []}}, "invalid_request", "source.urls"),
        ({"source": {"urls": ["x"]}}, "invalid_request", "source.urls.0"),
        ({"source": 5}, "invalid_request", "source"),
        ({"source": {"urls": [f"{HOST}/a", "ftp://x/y"]}}, "url_not_allowed", "source.urls.1"),
        ({"source": {"urls": [f"{HOST}/a"]}, "options": {"model": "huge"}}, "invalid_request", "options.model"),
        ({"source": {"urls": [f"{HOST}/a"]}, "options": {"prioriti": 1}}, "invalid_request", "options.prioriti"),
        ({"source": {"urls": [f"{HOST}/a"]}, "output": {"url": "s3://results/{id}"}}, "url_not_allowed", "output.url"),
        ({"source": {"urls": urls(2)}, "output": {"url": "s3://results/{date}"}}, "invalid_request", "output.url"),
        ({"source": "s3://calls/*.wav", "output": {"url": "s3://results/a"}}, "invalid_request", "output.url"),
        (
            {"source": {"urls": urls(1)}, "options": {"output": {"url": "s3://results/a"}}},
            "invalid_request",
            "options.output",
        ),
        ({"source": {"urls": [f"{HOST}/a"]}, "more": 1}, "invalid_request", "more"),
    ],
)
async def test_a_wrong_request_is_refused(served: Listening, body: dict[str, Any], code: str, field: str) -> None:
    answer = await served.client.post("/v1/batches", json=body)
    problem = refused(answer, 422, code)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert "instance of" not in answer.text


async def test_the_output_of_a_manifest_differs_between_its_rows(served: Listening) -> None:
    answer = await uploaded(served, f"url\n{HOST}/a.wav\n", output='{"url": "s3://results/fixed"}')
    assert [error["field"] for error in refused(answer, 422, "invalid_request")["errors"]] == ["output.url"]


async def test_refusals_speak_of_manifests_and_sources(served: Listening) -> None:
    answer = await served.client.post("/v1/batches", content=b"x", headers={"Content-Type": "text/plain"})
    problem = refused(answer, 415, "unsupported_media")
    assert "JSON with a `source`" in problem["detail"]
    assert problem["title"] == "The body is neither a form nor JSON"
    answer = await served.client.post("/v1/batches", files={"csv": ("calls.csv", "url")})
    assert refused(answer, 422, "invalid_request")["detail"].startswith("Send the manifest in the part named `file`.")
    answer = await uploaded(served, f"url\n{HOST}/a.wav\n", options="split")
    assert 'options={"channels": "split"}' in refused(answer, 422, "invalid_request")["errors"][0]["detail"]


async def test_at_most_some_hundreds_of_jobs_wait_and_they_do_not_fill_the_queue(
    database: Database, tmp_path: Path
) -> None:
    async with listening(database, tmp_path, max_pending="1") as served:
        batch = await fed(served, database, await posted(served, urls(1000)))
        assert counts(batch) == {
            "total": 1000,
            "pending": feeding.MOST_WAITING_JOBS,
            "waiting": 1000 - feeding.MOST_WAITING_JOBS,
        }
        answer = await served.client.post("/v1/transcriptions", json={"url": f"{HOST}/today.wav"})
        assert answer.status_code == 202
        refused(await served.client.post("/v1/transcriptions", json={"url": f"{HOST}/2.wav"}), 429, "queue_full")
        [job] = await claim(database, 0, fetches=1)
        assert str(job.id) == answer.json()["id"]


async def test_cancelling_ends_waiting_and_running_jobs(served: Listening, database: Database) -> None:
    batch = await fed(served, database, await posted(served, urls(500)))
    running, done = await claim(database, 0, fetches=2)
    await finish(database, done, SUCCESS)
    answer = await served.client.post(f"{batch['links']['self']}/cancel")
    assert (answer.status_code, answer.json()["status"], answer.json()["completed_at"]) == (200, "cancelled", None)
    refused(await served.client.post(f"{batch['links']['self']}/retry"), 409, "not_completed")
    batch = await fed(served, database, batch)
    assert counts(batch) == {"total": 500, "completed": 1, "in_progress": 1, "cancelled": 498}
    async with database.engine.connect() as connection:
        asked = await connection.execute(
            text("SELECT id FROM transcription WHERE status = 'in_progress' AND cancel_requested")
        )
        assert asked.scalar_one() == running.id
    await finish(database, running, SUCCESS)
    batch = await fed(served, database, batch)
    assert batch["completed_at"] is not None
    refused(await served.client.post(f"{batch['links']['self']}/cancel"), 409, "already_final")
    await served.client.post(f"{batch['links']['self']}/retry")
    batch = await fed(served, database, batch)
    assert (batch["status"], batch["counts"]["pending"]) == ("feeding", feeding.MOST_WAITING_JOBS)


async def test_a_batch_counts_the_retry_of_one_of_its_jobs(served: Listening, database: Database) -> None:
    batch = await fed(served, database, await posted(served, urls(2)))
    first, second = await claim(database, 0, fetches=2)
    await finish(database, first, SUCCESS)
    await finish(database, second, Failed("transcription_failed", "it failed"))
    batch = await fed(served, database, batch)
    assert (batch["status"], counts(batch)) == ("completed", {"total": 2, "completed": 1, "failed": 1})
    retry = await served.client.post(f"/v1/transcriptions/{second.id}/retry")
    assert (retry.status_code, retry.json()["batch_id"]) == (202, batch["id"])
    again = await served.client.post(f"/v1/transcriptions/{second.id}/retry")
    assert (again.status_code, again.json()["id"]) == (200, retry.json()["id"])
    batch = await fed(served, database, batch)
    assert (batch["status"], counts(batch)) == ("running", {"total": 2, "completed": 1, "pending": 1})
    assert retry.json()["id"] in [row["transcription_id"] for row in await report(served, batch)]
    [job] = await claim(database, 0, fetches=1)
    await finish(database, job, SUCCESS)
    batch = await fed(served, database, batch)
    assert (batch["status"], counts(batch)) == ("completed", {"total": 2, "completed": 2})
    await served.client.post(f"{batch['links']['self']}/retry")
    assert counts(await fed(served, database, batch)) == {"total": 2, "completed": 2}


async def test_a_retry_leaves_a_batch_that_is_cancelled(served: Listening, database: Database) -> None:
    batch = await fed(served, database, await posted(served, urls(2)))
    [job, _] = await claim(database, 0, fetches=2)
    await finish(database, job, Failed("transcription_failed", "it failed"))
    await served.client.post(f"{batch['links']['self']}/cancel")
    retry = await served.client.post(f"/v1/transcriptions/{job.id}/retry")
    assert (retry.status_code, retry.json()["batch_id"]) == (202, None)
    batch = await fed(served, database, batch)
    assert counts(batch) == {"total": 2, "failed": 1, "in_progress": 1}
    assert (await served.client.get(retry.json()["links"]["self"])).json()["status"] == "pending"
    await execute(
        database, "UPDATE transcription SET completed_at = now(), status = 'failed' WHERE retry_of IS NOT NULL"
    )
    await served.client.delete(batch["links"]["self"])
    refused(await served.client.post(f"/v1/transcriptions/{job.id}/retry"), 404, "not_found")


async def test_a_retry_gives_failed_and_refused_recordings_new_jobs(served: Listening, database: Database) -> None:
    batch = await posted(served, urls(3))
    await execute(database, "UPDATE recording_batch_row SET url = 'ftp://x/y' WHERE number = 3")
    batch = await fed(served, database, batch)
    good, bad = await claim(database, 0, fetches=2)
    await finish(database, good, SUCCESS)
    await finish(database, bad, Failed("transcription_failed", "it failed"))
    batch = await fed(served, database, batch)
    assert (batch["status"], counts(batch)) == ("completed", {"total": 3, "completed": 1, "failed": 1, "refused": 1})
    rows = await report(served, batch)
    assert [row["error"] and row["error"]["code"] for row in rows] == [None, "transcription_failed", "url_not_allowed"]
    await execute(database, "UPDATE recording_batch_row SET url = 'https://a/b.wav' WHERE number = 3")
    answer = await served.client.post(f"{batch['links']['self']}/retry")
    assert (answer.json()["status"], answer.json()["completed_at"]) == ("feeding", None)
    batch = await fed(served, database, batch)
    assert (batch["status"], counts(batch)) == ("running", {"total": 3, "completed": 1, "pending": 2})
    again = await report(served, batch)
    assert again[0]["transcription_id"] == rows[0]["transcription_id"]
    assert again[1]["transcription_id"] != rows[1]["transcription_id"]
    for job in await claim(database, 0, fetches=2):
        await finish(database, job, SUCCESS)
    assert counts(await fed(served, database, batch)) == {"total": 3, "completed": 3}
    unchanged = await served.client.post(f"{batch['links']['self']}/retry")
    assert unchanged.json()["status"] == "completed"


async def test_a_deleted_batch_takes_its_transcriptions_along(served: Listening, database: Database) -> None:
    other = await enqueue(database)
    batch = await fed(served, database, await posted(served, urls(150)))
    await claim(database, 0, fetches=1)
    assert (await served.client.delete(batch["links"]["self"])).status_code == 204
    for path in (batch["links"]["self"], batch["links"]["report"]):
        refused(await served.client.get(path), 404, "not_found")
    await served.service.feeder.look_after_all()
    assert [await count(database, table) for table in ("recording_batch", "recording_batch_row")] == [0, 0]
    assert [job["id"] for job in (await served.client.get("/v1/transcriptions")).json()["items"]] == [str(other.id)]


async def test_a_deleted_transcription_shows_as_erased(served: Listening, database: Database) -> None:
    batch = await fed(served, database, await posted(served, urls(1)))
    [row] = await report(served, batch)
    await served.client.delete(f"/v1/transcriptions/{row['transcription_id']}")
    batch = await fed(served, database, batch)
    assert (batch["status"], counts(batch)) == ("completed", {"total": 1, "erased": 1})
    assert [row["status"] for row in await report(served, batch)] == ["erased"]


async def test_ended_batches_are_erased_after_their_transcriptions(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path, keep_transcript_days="1") as served:
        batch = await fed(served, database, await posted(served, urls(1)))
        [job] = await claim(database, 0, fetches=1)
        await finish(database, job, SUCCESS)
        await fed(served, database, batch)
        await execute(database, "UPDATE recording_batch SET completed_at = now() - interval '2 days'")
        await served.service.feeder.sweep()
        assert (await served.client.get(batch["links"]["self"])).status_code == 200
        await served.client.delete(f"/v1/transcriptions/{job.id}")
        await served.service.feeder.sweep()
        await served.service.feeder.look_after_all()
        assert [await count(database, table) for table in ("recording_batch", "recording_batch_row")] == [0, 0]


async def test_a_report_in_csv_is_harmless_for_spreadsheets(served: Listening, database: Database) -> None:
    manifest = f'url,external_id\nhttps://a.example/1.wav?token=t,"=HYPERLINK(""x"")"\n{HOST}/2.wav,-1\n'
    batch = (await uploaded(served, manifest)).json()
    await fed(served, database, batch)
    for headers, query in (({"Accept": "text/csv"}, ""), ({}, "?format=csv")):
        answer = await served.client.get(batch["links"]["report"] + query, headers=headers)
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert f"batch-{batch['id']}.csv" in answer.headers["Content-Disposition"]
        first, second = csv.DictReader(io.StringIO(answer.text))
        assert (first["url"], first["external_id"]) == ("https://a.example/1.wav", '\'=HYPERLINK("x")')
        assert (second["number"], second["external_id"], second["status"]) == ("2", "'-1", "pending")
        assert UUID(second["transcription_id"])
    refused(await served.client.get(batch["links"]["report"], headers={"Accept": "text/html"}), 406, "not_acceptable")
    head = await served.client.head(batch["links"]["report"])
    assert (head.status_code, head.content) == (200, b"")


async def test_a_long_report_is_read_page_by_page(served: Listening, database: Database) -> None:
    batch = await posted(served, urls(1200))
    assert [row["number"] for row in await report(served, batch)] == list(range(1, 1201))
    text_ = (await served.client.get(batch["links"]["report"] + "?format=csv")).text
    assert len(text_.splitlines()) == 1201


async def test_batches_are_listed_newest_first(served: Listening, database: Database) -> None:
    made = [(await posted(served, urls(1)))["id"] for _ in range(3)]
    page = (await served.client.get("/v1/batches?limit=2")).json()
    rest = (await served.client.get(f"/v1/batches?limit=2&cursor={page['next_cursor']}")).json()
    assert [item["id"] for item in page["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None
    assert (await served.client.get("/v1/batches?status=completed")).json()["items"] == []


async def test_an_interrupted_request_leaves_nothing(served: Listening, database: Database) -> None:
    batch = await posted(served, urls(3))
    await execute(database, "UPDATE recording_batch SET status = 'receiving', look_at = now()")
    refused(await served.client.get(batch["links"]["self"]), 404, "not_found")
    await served.service.feeder.look_after_all()
    assert [await count(database, table) for table in ("recording_batch", "recording_batch_row")] == [0, 0]


async def test_objects_of_a_bucket_are_listed_once(
    database: Database, tmp_path: Path, bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.recording_batches.feeder.KEYS_AT_ONCE", 2)
    keys = ["a.wav", "b/c d.wav", "b/ü#1?.wav", "b/100%.wav", "b/x%20y.wav", "b/=1.WAV", "b/e.mp3", "b/f/g.wav"]
    for key in keys:
        s3_server.filer.put(f"/buckets/{bucket}/2019/{quoted(key)}", content=b"x").raise_for_status()
    s3_server.filer.put(f"/buckets/{bucket}/2020/a.wav", content=b"x").raise_for_status()
    async with listening(database, tmp_path, source_buckets=bucket) as served:
        answer = await served.client.post("/v1/batches", json={"source": f"s3://{bucket}/2019/**/*.wav"})
        batch = answer.json()
        assert (answer.status_code, batch["source"]) == (202, f"s3://{bucket}/2019/**/*.wav")
        batch = await fed(served, database, batch)
        wanted = {f"s3://{bucket}/2019/{quoted(key)}" for key in keys if key.endswith(".wav")}
        rows = await report(served, batch)
        assert {row["url"] for row in rows} == wanted
        assert (batch["status"], counts(batch)) == ("running", {"total": len(wanted), "pending": len(wanted)})
        assert len(rows) == len(wanted)


def quoted(key: str) -> str:
    from urllib.parse import quote

    return quote(key)


async def test_a_bucket_that_cannot_be_listed_is_reported_and_tried_again(
    database: Database, tmp_path: Path, bucket: str
) -> None:
    async with listening(database, tmp_path, source_buckets="no-such-bucket") as served:
        answer = await served.client.post("/v1/batches", json={"source": "s3://no-such-bucket/*"})
        batch = await fed(served, database, answer.json())
        assert (batch["status"], counts(batch)) == ("feeding", {})
        assert batch["error"].startswith("The bucket could not be listed: ")


async def test_a_pattern_that_matches_nothing_is_reported(
    database: Database, tmp_path: Path, bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    async with listening(database, tmp_path, source_buckets=bucket) as served:
        answer = await served.client.post("/v1/batches", json={"source": f"s3://{bucket}/2019/*.wav"})
        batch = await fed(served, database, answer.json())
    assert (batch["status"], batch["error"]) == ("completed", feeding.NO_MATCH)


def test_a_manifest_has_a_path_of_its_own_for_generated_clients(guarded: Service) -> None:
    files = {"file": ("calls.csv", "url\nhttps://192.0.2.1/a.wav\n")}
    answer = guarded.client.post("/v1/batches/from-manifest", files=files)
    refused(answer, 422, "url_not_allowed")
    asked = {"source": {"urls": ["https://example.com/a.wav"]}}
    answer = guarded.client.post("/v1/batches/from-manifest", json=asked)
    assert refused(answer, 415, "unsupported_media")["title"] == "The body is not a form"
    assert guarded.client.get("/v1/batches/from-manifest").status_code == 405
