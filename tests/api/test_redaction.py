"""Redaction as clients see it: how they ask for it, what they get, and who may read the original."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.access.callers import USUAL_SCOPES, Scope
from app.database.connections import Database
from app.jobs.claims.claiming import Claimed
from app.jobs.lifecycle import Failed, RedactedAudio, Redaction
from app.jobs.reads import waiting
from app.storage.folder_store import LocalAudioStore
from app.transcripts.entities import Entity
from app.transcripts.transcript import Channel, Segment, Transcript
from testing.forms import END, FORM_TYPE, field, file, refused
from testing.keys import bearer
from testing.listening import Listening, listening
from testing.recordings import tone
from testing.rows import KEEP_AUDIO, SUCCESS, claim, finish, read
from testing.waiting import until
from tests.test_privacy import dumped

URL = "https://recordings.example.com/call.wav"
ALL = [str(entity) for entity in Entity]
SILENCED, ORIGINAL = b"silenced", tone()
HEARD = Transcript(
    "en",
    1.0,
    1.0,
    (Channel(0, "speaker", "en", 1.0, 1.0),),
    (Segment(0, 0, "speaker", 0.0, 1.0, "555 0142 739", "en"),),
)
SHOWN = replace(HEARD, segments=(replace(HEARD.segments[0], text="[PHONE]"),))


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


async def post(served: Listening, key: dict[str, str], *fields: tuple[str, str], status: int = 202) -> dict[str, Any]:
    body = file() + b"".join(field(name, value) for name, value in fields) + END
    headers = key | {"Content-Type": FORM_TYPE}
    answer = await served.client.post("/v1/transcriptions", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def completed(served: Listening, key: dict[str, str], *fields: tuple[str, str]) -> dict[str, Any]:
    """A call that was redacted, with the recordings that a worker leaves."""
    job = await post(served, key, ("redact", "true"), *fields)
    store = LocalAudioStore(served.audio)

    async def stream() -> AsyncIterator[bytes]:
        yield SILENCED

    await store.save("silenced", stream(), len(SILENCED))
    [claimed] = await claim(served.service.database)
    unredacted = HEARD if ("redact_keep", "true") in fields else None
    silenced = RedactedAudio("silenced", len(SILENCED))
    success = replace(SUCCESS, transcript=SHOWN, redaction=Redaction({"PHONE": 1}, unredacted, silenced))
    written = await finish(served.service.database, claimed, success, at_end=KEEP_AUDIO)
    assert written is not None
    return (await served.client.get(job["links"]["self"], headers=key)).json()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("fields", "entities"),
    [
        ([], []),
        ([("redact", "true")], ALL),
        ([("redact", "1")], ALL),
        ([("redact[]", "true")], ALL),
        ([("redact", "false")], []),
        ([("redact", "")], []),
        ([("redact", "PHONE,EMAIL")], ["PHONE", "EMAIL"]),
        ([("redact", "PHONE, EMAIL")], ["PHONE", "EMAIL"]),
        ([("redact", "PHONE"), ("redact", "EMAIL"), ("redact", "PHONE")], ["PHONE", "EMAIL"]),
        ([("redact[]", "PHONE")], ["PHONE"]),
        ([("redact", '["PIN"]')], ["PIN"]),
    ],
)
async def test_a_form_says_what_to_take_out(
    served: Listening, fields: Sequence[tuple[str, str]], entities: list[str]
) -> None:
    job = await post(served, await bearer(served), *fields, ("redact_terms", "Miller"))
    assert job["options"]["redact"] == entities
    assert "redact_terms" not in job["options"]


@pytest.mark.parametrize(
    ("value", "entities"), [(True, ALL), (False, []), (["PHONE"], ["PHONE"]), ([], []), (None, [])]
)
async def test_json_says_what_to_take_out(served: Listening, value: Any, entities: list[str]) -> None:
    key = await bearer(served)
    answer = await served.client.post("/v1/transcriptions", json={"url": URL, "redact": value}, headers=key)
    assert answer.status_code == 202, answer.text
    assert answer.json()["options"]["redact"] == entities


async def test_an_unknown_entity_is_refused_with_those_that_there_are(served: Listening) -> None:
    problem = await post(served, await bearer(served), ("redact", "PHONE,SHOE_SIZE"), status=422)
    [error] = problem["errors"]
    assert error["field"].startswith("redact")
    assert all(name in error["detail"] for name in ALL)


@pytest.mark.parametrize("value", ["PHONE", "true", 7, {"PHONE": True}])
async def test_json_that_is_neither_true_nor_a_list_is_told_what_to_send(served: Listening, value: Any) -> None:
    body = {"url": URL, "redact": value}
    answer = await served.client.post("/v1/transcriptions", json=body, headers=await bearer(served))
    problem = refused(answer, 422, "invalid_request")
    assert problem["errors"] == [{"field": "redact", "detail": "must be true, false or a list of names"}]


async def test_the_operator_redacts_all_calls_and_no_client_turns_it_off(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path, redact="EMAIL,PHONE") as served:
        key = await bearer(served)
        less = await post(served, key, ("redact", "false"))
        more = await post(served, key, ("redact", "PIN"))
    assert less["options"]["redact"] == ["EMAIL", "PHONE"]
    assert more["options"]["redact"] == ["PIN", "EMAIL", "PHONE"]


async def test_what_the_operator_redacts_is_kept_only_for_keys_with_the_scope(
    database: Database, tmp_path: Path
) -> None:
    async with listening(database, tmp_path, redact="PHONE") as served:
        key = await bearer(served)
        reviewer = await bearer(served, "reviewer", scopes=[*USUAL_SCOPES, Scope.UNREDACTED])
        url, source = {"url": URL, "redact_keep": True}, {"source": {"urls": [URL]}}
        requests: list[tuple[str, dict[str, Any]]] = [
            ("/v1/transcriptions", {"json": url}),
            ("/v1/transcriptions/from-url", {"json": url}),
            ("/v1/transcriptions", {"files": {"file": ("call.wav", tone())}, "data": {"redact_keep": "true"}}),
            ("/v1/batches", {"json": source | {"options": {"redact_keep": True}}}),
            ("/v1/batches", {"files": {"file": ("calls.csv", f"url,redact_keep\n{URL},true\n")}}),
            ("/v1/transcribe", {"files": {"audio": ("call.wav", tone())}, "data": {"redact_keep": "true"}}),
        ]
        for path, body in requests:
            answer = await served.client.post(path, headers=key, **body)
            assert answer.status_code == 403, (path, answer.text)
            assert 'scope="unredacted"' in answer.headers["WWW-Authenticate"]
            if path != "/v1/transcribe":  # it would wait for the transcript
                answer = await served.client.post(path, headers=reviewer, **body)
                assert answer.status_code == 202, answer.text
        await served.service.feeder.look_after_all()
    kept = [job.options["redact_keep"] for job in await claim(database, 0, fetches=9)]
    assert kept == [True] * len(kept)
    assert len(kept) >= 2


async def test_a_retry_takes_out_what_the_operator_redacts_now(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as served:
        key = await bearer(served)
        job = await post(served, key, ("redact", "PIN"))
        keeps = await post(served, key, ("redact", "PIN"), ("redact_keep", "true"))
        for claimed in await claim(database, 2):
            await finish(database, claimed, Failed("bad_media", "It is broken."), at_end=KEEP_AUDIO)
    async with listening(database, tmp_path, redact="PHONE") as served:
        answer = await served.client.post(f"{job['links']['self']}/retry", headers=key)
        assert answer.json()["options"]["redact"] == ["PIN", "PHONE"]
        refused(await served.client.post(f"{keeps['links']['self']}/retry", headers=key), 403, "forbidden")


async def test_a_repeated_request_must_redact_the_same(served: Listening) -> None:
    key = await bearer(served) | {"Idempotency-Key": "1"}
    body = {"url": URL, "redact": ["PHONE"]}
    first = await served.client.post("/v1/transcriptions", json=body, headers=key)
    again = await served.client.post("/v1/transcriptions", json=body, headers=key)
    assert (first.status_code, again.status_code, again.json()["id"]) == (202, 200, first.json()["id"])
    refused(
        await served.client.post("/v1/transcriptions", json=body | {"redact": True}, headers=key),
        422,
        "idempotency_key_reused",
    )


async def test_a_retry_redacts_the_same_and_the_terms_are_forgotten_at_the_end(
    database: Database, served: Listening
) -> None:
    key = await bearer(served)
    job = await post(served, key, ("redact", "PHONE"), ("redact_terms", "Miller"), ("redact_keep", "true"))
    [claimed] = await claim(database)
    await finish(database, claimed, Failed("bad_media", "It is broken."), at_end=KEEP_AUDIO)
    retry = (await served.client.post(f"{job['links']['self']}/retry", headers=key)).json()
    assert (retry["options"]["redact"], retry["options"]["redact_keep"]) == (["PHONE"], True)
    [claimed] = await claim(database)
    assert claimed.options["redact_terms"] == ["Miller"]
    await finish(database, claimed, replace(SUCCESS, transcript=SHOWN))
    assert (await read(database, claimed.id)).options["redact_terms"] == []


async def test_everybody_gets_the_redacted_transcript_and_recording(served: Listening) -> None:
    key = await bearer(served)
    job = await completed(served, key)
    assert (job["audio"]["bytes"], job["links"]["audio"]) == (len(ORIGINAL), f"{job['links']['self']}/audio")
    for query in ("", "?redacted=true"):
        sound = await served.client.get(job["links"]["audio"] + query, headers=key)
        assert (sound.status_code, sound.content) == (200, SILENCED)
        assert sound.headers["Content-Type"] == "audio/wav"
        assert sound.headers["Content-Disposition"] == "attachment; filename*=UTF-8''call.wav"
        assert job["audio"]["sha256"] not in sound.headers["ETag"]
    part = await served.client.get(job["links"]["audio"], headers=key | {"Range": "bytes=2-3"})
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"le", "bytes 2-3/8")
    assert (await served.client.get(job["links"]["transcript"] + "?format=text", headers=key)).text == "[PHONE]\n"
    assert sorted(path.name for path in served.stored_files()) == sorted([job["id"], "silenced"])


@pytest.mark.parametrize("kept", [False, True])
async def test_only_a_key_with_the_scope_reads_the_original_and_only_if_it_is_kept(
    served: Listening, *, kept: bool
) -> None:
    key, boss = await bearer(served), await bearer(served, "boss", scopes=[Scope.ADMIN, Scope.READ])
    reviewer = await bearer(served, "reviewer", scopes=[*USUAL_SCOPES, Scope.UNREDACTED])
    job = await completed(served, key, *([("redact_keep", "true")] if kept else []))
    for what in ("transcript", "audio"):
        path = f"{job['links'][what]}?unredacted=true"
        for other in (key, boss):
            problem = refused(await served.client.get(path, headers=other), 403, "forbidden")
            assert "unredacted" in problem["detail"]
        if not kept:
            refused(await served.client.get(path, headers=reviewer), 404, "not_found")
            continue
        answer = await served.client.get(path, headers=reviewer)
        assert answer.status_code == 200
        assert (ORIGINAL if what == "audio" else b"555 0142 739") in answer.content
        mine = await served.client.get(job["links"][what], headers=reviewer)
        assert b"555 0142 739" not in mine.content
    audit = (await served.client.get("/v1/audit?caller=reviewer", headers=boss)).json()["items"]
    actions = [entry["action"] for entry in audit if entry["action"].endswith("unredacted")]
    assert actions == (["recording.unredacted", "transcript.unredacted"] if kept else [])


async def test_until_it_is_silenced_a_recording_needs_the_scope(served: Listening) -> None:
    key = await bearer(served)
    reviewer = await bearer(served, "reviewer", scopes=[Scope.READ, Scope.UNREDACTED])
    boss = await bearer(served, "boss", scopes=[Scope.ADMIN])
    job = await post(served, key, ("redact", "PHONE"))
    refused(await served.client.get(job["links"]["audio"], headers=key), 403, "forbidden")
    refused(await served.client.get(job["links"]["audio"] + "?redacted=true", headers=key), 404, "not_found")
    assert (await served.client.get(job["links"]["audio"], headers=reviewer)).content == ORIGINAL
    audit = (await served.client.get("/v1/audit", headers=boss)).json()["items"]
    assert [(entry["caller"], entry["action"]) for entry in audit if entry["action"].startswith("recording")] == [
        ("reviewer", "recording.unredacted")
    ]


async def test_a_call_without_redaction_has_no_redacted_recording(served: Listening) -> None:
    key = await bearer(served)
    job = await post(served, key)
    assert (await served.client.get(job["links"]["audio"], headers=key)).content == ORIGINAL
    refused(await served.client.get(job["links"]["audio"] + "?redacted=true", headers=key), 404, "not_found")


async def test_both_recordings_go_with_the_call(database: Database, served: Listening) -> None:
    key = await bearer(served)
    job = await completed(served, key, ("redact_keep", "true"))
    assert len(served.stored_files()) == 2
    assert (await served.client.delete(job["links"]["self"], headers=key)).status_code == 204
    assert served.stored_files() == []


async def test_events_lists_and_exports_show_the_redacted_text(database: Database, served: Listening) -> None:
    key = await bearer(served)
    job = await completed(served, key, ("redact_keep", "true"), ("webhook_url", "https://crm.example/calls"))
    export = await served.client.post(
        "/v1/transcriptions/export", json={"format": "csv", "ids": [job["id"]]}, headers=key
    )
    assert "[PHONE]" in export.text
    found = await served.client.get("/v1/transcriptions?q=0142", headers=key)
    assert found.json()["items"] == []
    rows = [row for row in (await dumped(database)).splitlines() if "0142" in row]
    assert len(rows) == 1  # of `unredacted_transcript`


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/transcribe"])
async def test_openais_clients_ask_for_it_too(
    database: Database, served: Listening, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.05)
    key, part = await bearer(served), "audio" if path == "/v1/transcribe" else "file"
    form = {"redact": "PHONE", "redact_terms": "Miller", "stream": "true"}
    sending = asyncio.create_task(served.client.post(path, files={part: ("call.wav", tone())}, data=form, headers=key))
    claimed: list[Claimed] = []

    async def is_claimed() -> bool:
        claimed.extend(await claim(database))
        return bool(claimed)

    await until(is_claimed)
    assert (claimed[0].options["redact"], claimed[0].options["redact_terms"]) == (["PHONE"], ["Miller"])
    await finish(database, claimed[0], replace(SUCCESS, transcript=SHOWN))
    answer = await sending
    assert "[PHONE]" in answer.text
    assert "0142" not in answer.text
