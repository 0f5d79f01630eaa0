"""The view `call_transtxt`, for programs that poll the database, and the triggers that keep its rows."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.database.connections import Database
from app.deliveries import outbox
from app.deliveries.channels import Reply, Result
from app.deliveries.models import OUTPUTS, Style
from app.deliveries.notify_status import NotifyState
from app.jobs.changes import changing
from app.jobs.claims import leases
from app.jobs.claims.leases import Beat
from app.jobs.lifecycle import MAX_CRASHES, Failed, Succeeded
from app.jobs.models import Transcription, stored_transcripts
from app.transcripts.formats import Format, render
from app.transcripts.transcript import Channel, Segment, Transcript
from testing.rows import (
    KEEP_AUDIO,
    SUCCESS,
    TESTER,
    claim,
    enqueue,
    execute,
    expire_leases,
    finish,
    take_back_lost,
)
from tests.deliveries.conftest import end

_LOCK_DELIVERY = text("SELECT 1 FROM delivery FOR UPDATE")
URLS = ("https://crm.example/a", "https://crm.example/b")
COLUMNS = [
    "id",
    "audio_filename",
    "audio_file_path",
    "audio_duration",
    "transcript_status",
    "transcript_text",
    "error_message",
    "notify_status",
    "created_at",
    "transcription_started_at",
    "transcription_completed_at",
    "notified_at",
    "transcription_id",
]
DIALOGUE = Transcript(
    "en",
    1.0,
    1.6,
    (Channel(0, "agent", "en", 1.0, 1.0), Channel(1, "customer", "en", 1.0, 1.0)),
    (
        Segment(0, 0, "agent", 0.0, 1.0, "Good morning.", "en"),
        Segment(1, 0, "agent", 1.2, 2.0, "How can I\nhelp?", "en"),
        Segment(2, 1, "customer", 3661.0, 3662.0, "你好", "zh"),
        Segment(3, 1, "customer", 3663.0, 3664.0, "再见", "zh"),
    ),
)


async def row_of(database: Database, job: Transcription) -> Mapping[str, Any]:
    async with database.engine.connect() as connection:
        found = await connection.exec_driver_sql("SELECT * FROM call_transtxt WHERE transcription_id = $1", (job.id,))
        return dict(found.mappings().one())


async def notify_state(database: Database, job: Transcription) -> NotifyState:
    """What clients of the API see."""
    async with database.transaction() as session:
        return (await outbox.notify_states(session, [job.id])).get(job.id, NotifyState())


async def claim_deliveries(database: Database) -> list[outbox.Leased]:
    async with database.transaction() as session:
        return await outbox.claim_due(session, 10, tuple(Style))


def reply(result: Result) -> Reply:
    return Reply(datetime.now(UTC), 5, result)


async def test_a_job_is_a_row_with_the_columns_and_words_of_the_table(database: Database) -> None:
    first = await enqueue(database, filename="first.wav")
    job = await enqueue(database, filename="call.wav", source="https://user:pw@pbx.example/a%20b.wav?token=secret")
    waiting = await row_of(database, job)
    assert list(waiting) == COLUMNS
    assert waiting["id"] == (await row_of(database, first))["id"] + 1
    shown = {name: waiting[name] for name in ("audio_filename", "audio_file_path", "transcript_status")}
    assert shown == {
        "audio_filename": "call.wav",
        "audio_file_path": "https://pbx.example/a%20b.wav",
        "transcript_status": "pending",
    }

    [other, claimed] = await claim(database, 2)
    assert ((await row_of(database, job))["transcript_status"], other.id) == ("in_progress", first.id)
    await finish(database, claimed, Succeeded(DIALOGUE, SUCCESS.audio, SUCCESS.timings))
    row = await row_of(database, job)
    assert (row["transcript_status"], row["audio_duration"], row["error_message"]) == ("completed", 1, None)
    assert row["transcript_text"] == ("[00:00] agent: Good morning. How can I help?\n[01:01:01] customer: 你好再见\n")
    assert row["created_at"] <= row["transcription_started_at"] <= row["transcription_completed_at"]
    assert (row["notify_status"], row["notified_at"], row["transcription_id"]) == ("not_notified", None, job.id)


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("upload", None),
        ("file:///in/wav/50%25 off%3F %23%7B%7D %253F.wav", "/in/wav/50% off? #{} %3F.wav"),
        ("s3://calls/2019/a.wav", "s3://calls/2019/a.wav"),
        ("https://pbx.example/a@b.wav#part", "https://pbx.example/a@b.wav"),
    ],
)
async def test_the_path_is_where_the_recording_came_from(database: Database, source: str, path: str | None) -> None:
    job = await enqueue(database, source=source)
    assert (await row_of(database, job))["audio_file_path"] == path


async def test_a_cancelled_job_shows_as_failed_and_a_retried_one_as_pending(database: Database) -> None:
    cancelled, failed = await enqueue(database), await enqueue(database)
    async with database.transaction() as session:
        await changing.request_cancel(session, cancelled.id, TESTER, KEEP_AUDIO)
    [claimed] = await claim(database)
    await finish(database, claimed, Failed("transcription_failed", "no", transient=True))
    assert (await row_of(database, failed))["transcript_status"] == "pending"
    await execute(database, "UPDATE transcription SET run_at = now()")
    [claimed] = await claim(database)
    await finish(database, claimed, Failed("bad_media", "It is broken."))
    rows = [await row_of(database, job) for job in (cancelled, failed)]
    assert [(row["transcript_status"], row["error_message"]) for row in rows] == [
        ("failed", "cancelled"),
        ("failed", "It is broken."),
    ]


async def test_every_way_to_end_notifies_the_number_of_the_job(database: Database) -> None:
    heard: asyncio.Queue[int] = asyncio.Queue()
    listener = await database.connect_raw()
    await listener.add_listener("callscribe_ended", lambda *args: heard.put_nowait(int(args[3])))
    cancelled = await enqueue(database)
    async with database.transaction() as session:
        await changing.request_cancel(session, cancelled.id, TESTER, KEEP_AUDIO)
    finished, lost = await enqueue(database), await enqueue(database, crashes=0)
    [first, _] = await claim(database, 2)
    await finish(database, first, SUCCESS)
    await execute(database, f"UPDATE transcription SET crashes = {MAX_CRASHES - 1} WHERE status = 'in_progress'")
    await expire_leases(database)
    await take_back_lost(database)
    numbers = [(await row_of(database, job))["id"] for job in (cancelled, finished, lost)]
    assert [await asyncio.wait_for(heard.get(), 10) for _ in numbers] == numbers
    await listener.close()


async def test_the_notify_status_is_that_of_the_api(database: Database) -> None:
    job = await end(database, *URLS)
    seen = []

    async def look() -> None:
        row, state = await row_of(database, job), await notify_state(database, job)
        assert (row["notify_status"], row["notified_at"]) == (state.status, state.notified_at)
        seen.append(row["notify_status"])

    await look()
    [first, second] = await claim_deliveries(database)
    await look()
    async with database.transaction() as session:
        await outbox.give_back(session, first)
        await outbox.give_back(session, second)
    await look()
    [first, second] = await claim_deliveries(database)
    for leased, result in ((first, Result.DELIVERED), (second, Result.REFUSED)):
        async with database.transaction() as session:
            await outbox.record(session, leased, reply(result))
        await look()
    async with database.transaction() as session:
        await changing.redeliver(session, second.id, TESTER)
    await look()
    [again] = await claim_deliveries(database)
    async with database.transaction() as session:
        await outbox.record(session, again, reply(Result.DELIVERED))
    await look()
    assert seen == [
        "not_notified",
        "notifying",
        "not_notified",
        "notifying",
        "notification_failed",
        "notifying",
        "notified",
    ]


async def test_outputs_do_not_count_as_notifications(database: Database) -> None:
    job = await end(database, URLS[0])
    await execute(database, "UPDATE delivery SET style = 'folder'")
    [leased] = await claim_deliveries(database)
    async with database.transaction() as session:
        await outbox.record(session, leased, reply(Result.REFUSED))
    assert (await row_of(database, job))["notify_status"] == "not_notified"


async def test_the_triggers_know_which_styles_are_outputs(database: Database) -> None:
    async with database.engine.connect() as connection:
        query = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname LIKE 'follow%delivery'"
        definitions = (await connection.execute(text(query))).scalars().all()
    assert len(definitions) == 2
    for definition in definitions:
        assert {style for style in Style if f"'{style}'" in definition} == OUTPUTS


async def test_a_nul_in_a_transcript_does_not_hide_its_row(database: Database) -> None:
    said = replace(DIALOGUE, segments=(replace(DIALOGUE.segments[0], text=r"C:\u0000 Good" + "\0 morning.\0"),))
    job = await end(database, outcome=replace(SUCCESS, transcript=said))
    assert r"C:\u0000 Good morning." in (await row_of(database, job))["transcript_text"]


async def test_two_deliveries_that_end_at_the_same_time_leave_the_job_notified(database: Database) -> None:
    job = await end(database, *URLS)
    [first, second] = await claim_deliveries(database)

    async def record(leased: outbox.Leased) -> None:
        async with database.transaction() as session:
            await outbox.record(session, leased, reply(Result.DELIVERED))

    async with database.transaction() as session:
        await outbox.record(session, first, reply(Result.DELIVERED))
        recording = asyncio.create_task(record(second))
        while not await _waits_for_a_lock(database):
            await asyncio.wait({recording}, timeout=0.02)
    await recording
    assert (await row_of(database, job))["notify_status"] == "notified"


async def _waits_for_a_lock(database: Database) -> bool:
    async with database.engine.connect() as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool((await connection.exec_driver_sql(waiting)).scalar_one())


async def test_a_job_may_be_erased_while_a_sender_records_its_delivery(database: Database) -> None:
    """The erasure waits for the delivery, and the sender writes the row of the table: neither may wait in a circle."""
    job = await end(database, URLS[0])
    [leased] = await claim_deliveries(database)

    async def erase() -> None:
        async with database.transaction() as session:
            await changing.erase(session, job.id, TESTER)

    async with database.transaction() as session:
        await session.exec(_LOCK_DELIVERY)  # type: ignore[call-overload]
        erasing = asyncio.create_task(erase())
        while not await _waits_for_a_lock(database):
            await asyncio.wait({erasing}, timeout=0.02)
        await outbox.record(session, leased, reply(Result.DELIVERED))
    await erasing
    async with database.engine.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM polled_job")).scalar_one() == 0


async def test_a_heartbeat_writes_nothing_beside_the_row_of_its_job(database: Database) -> None:
    await enqueue(database)
    [job] = await claim(database)
    version = "SELECT xmin::text FROM polled_job"
    async with database.engine.connect() as connection:
        before = (await connection.exec_driver_sql(version)).scalar_one()
    async with database.transaction() as session:
        assert job.id in await leases.heartbeat(session, [Beat(job.id, job.lease_token, 0.5)])
    async with database.engine.connect() as connection:
        assert (await connection.exec_driver_sql(version)).scalar_one() == before


SPEECH = st.text(st.sampled_from('ab.你ไร \u00a0\u3000\n\u2028\u200b\x1f"\\é'), max_size=8)
SEGMENTS = st.lists(
    st.builds(
        lambda channel, start, length, said, language: Segment(
            0, channel, ["agent", "cus  tomer"][channel], start, start + length, said, language
        ),
        st.integers(0, 1),
        st.one_of(st.sampled_from([0.0, 1.0, 4.0, 3599.9999, 3600.0, 400_000.0]), st.floats(0, 20)),
        st.floats(0, 3),
        SPEECH,
        st.sampled_from(["en", "zh", "th"]),
    ),
    max_size=8,
)


@given(segments=SEGMENTS, channels=st.integers(1, 2))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_text_is_that_of_the_format_text(database: Database, segments: list[Segment], channels: int) -> None:
    tracks = tuple(Channel(index, f"channel_{index}", "en", 1.0, 1.0) for index in range(channels))
    transcript = Transcript("en", 1.0, 9.0, tracks, tuple(segments))
    await execute(database, "DELETE FROM transcription")
    job = await enqueue(database)
    stored = stored_transcripts.dump_json(transcript).decode()
    await execute(database, "INSERT INTO transcript VALUES (:id, :transcript)", id=job.id, transcript=stored)
    assert (await row_of(database, job))["transcript_text"] == render(transcript, "", Format.TEXT)
