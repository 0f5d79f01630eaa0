"""A live call from its start to its job: nothing of its sound is lost, whatever happens to its process."""

import asyncio
import errno
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from sqlalchemy.exc import NoResultFound

from app.access.callers import Caller
from app.audio.live_sound import Sound
from app.database.connections import Database
from app.errors import InsufficientStorage, NotFound, ShuttingDown, TooLong, TryAgainLater
from app.intake.ask import Ask
from app.jobs.changes import changing
from app.live import events, rows
from app.live.call import LiveCall
from app.live.spool import Spool
from app.live.text import redacted_text
from app.speech.live.events import Final
from app.storage.folder_store import LocalAudioStore
from app.transcripts.entities import Entity
from app.transcripts.transcript import Options, Word
from testing.media import tones, write_live
from testing.rows import read
from tests.live.conftest import CRM, Heard, Live, Make, asked

SECOND = b"\x12" * 8000


async def bytes_of(live: Live, job_id: UUID) -> bytes:
    async with live.store.local_path(str(job_id)) as path:
        return path.read_bytes()


async def crash(live: Live, call: LiveCall) -> None:
    """The process is gone: nobody holds the spool, and nobody ends the call."""
    assert call._ticking is not None
    await asyncio.sleep(0.25)  # its last tick
    call._ticking.cancel()
    await call._parts.aclose()
    call.spool.close()
    live.calls._calls.clear()


async def told(heard: Heard, kind: str, do: Callable[[], Awaitable[None]] | None = None) -> bool:
    """Whether the client is told an event of this kind, while the test does the same again and again."""
    for _ in range(1_000):
        if kind in heard.kinds:
            return True
        await (do() if do else asyncio.sleep(0))
        await asyncio.sleep(0.02)
    return False


async def go_on(call: LiveCall) -> None:
    """Send sound until the call refuses it."""
    for _ in range(100):
        await call.hear(b"\x12")
        await asyncio.sleep(0.02)


async def test_the_sound_of_a_call_becomes_a_job_with_the_id_of_the_call(make: Make, database: Database) -> None:
    live, heard = make(), Heard()
    ask = Ask(options=Options(model="", channel_labels=("agent", "customer")), external_id="c-1", metadata={"a": 1})
    call = await live.open(asked(sound=Sound("mulaw", 8000, 2), ask=ask), heard)
    for _ in range(20):
        await call.hear(b"\x01\x02" * 800)
    assert await call.stop() == call.id
    job = await read(database, call.id)
    assert (job.status, job.source, job.external_id, job.metadata_) == ("pending", "live", "c-1", {"a": 1})
    assert (job.codec, job.channels, job.sample_rate, job.duration) == ("pcm_mulaw", 2, 8000, 2.0)
    assert job.options["channels"] == "split"
    assert (await bytes_of(live, call.id)).endswith(b"data" + (32_000).to_bytes(4, "little") + b"\x01\x02" * 16_000)
    assert heard.kinds[0] == "started"
    assert heard.kinds[-1] == "stopped"
    texts = [(each.speaker, each.text) for each in heard.events if isinstance(each, events.Transcript)]
    assert texts == [
        (speaker, f"second {second} of channel {channel}")
        for second in range(2)
        for channel, speaker in enumerate(("agent", "customer"))
    ]
    assert not list(live.spools.iterdir())
    assert live.calls.count == 0


async def test_a_container_has_live_text_and_is_kept_as_it_came(make: Make, database: Database) -> None:
    live, heard = make(), Heard()
    call = await live.open(asked(sound=Sound("container", channels=2)), heard)
    recording = write_live(tones([440, 880], 48_000, 3.2), 48_000)
    for start in range(0, len(recording), 5_000):
        await call.hear(recording[start : start + 5_000])
    assert await told(heard, "transcript")
    assert await call.stop() == call.id
    assert await bytes_of(live, call.id) == recording
    job = await read(database, call.id)
    assert (job.source, job.codec, job.channels) == ("live", "opus", 2)
    texts = {each.text for each in heard.events if isinstance(each, events.Transcript)}
    assert texts == {f"second {second} of channel {channel}" for second in range(3) for channel in range(2)}
    assert heard.kinds[-1] == "stopped"


async def test_a_stereo_container_that_is_sent_as_one_channel_has_one_live_text(make: Make) -> None:
    live, heard = make(), Heard()
    call = await live.open(asked(sound=Sound("container")), heard)
    await call.hear(write_live(tones([440, 440], 48_000, 1.2), 48_000))
    assert await told(heard, "transcript")
    await call.stop()
    assert {each.channel for each in heard.events if isinstance(each, events.Transcript)} == {0}


async def test_a_container_that_cannot_be_read_has_no_live_text_and_is_kept_for_a_job_that_says_why(
    make: Make, database: Database
) -> None:
    live, heard = make(), Heard()
    call = await live.open(asked(sound=Sound("container")), heard)
    await call.hear(b"not a recording\n" * 6_000)
    assert await told(heard, "warning", lambda: call.hear(b"!"))
    [warning] = [each for each in heard.events if isinstance(each, events.Warned)]
    assert warning.code == "unsupported_media"
    assert await call.stop() == call.id
    assert heard.kinds[-1] == "stopped"
    assert (await read(database, call.id)).codec is None
    assert (await bytes_of(live, call.id)).startswith(b"not a recording")
    assert not list(live.spools.iterdir())


async def test_a_call_whose_model_is_away_says_so_once_and_is_kept(make: Make, database: Database) -> None:
    live, heard = make(), Heard()
    call = await live.open(
        asked(sound=Sound("mulaw", 8000, 2), ask=Ask(options=Options(model="", prompt="away 3"))), heard
    )
    assert await told(heard, "transcript", lambda: call.hear(bytes(1_600)))
    [warning] = [each for each in heard.events if isinstance(each, events.Warned)]
    assert (warning.code, warning.channel) == ("model_away", None)
    assert await call.stop() == call.id
    assert (await read(database, call.id)).status == "pending"


async def test_a_call_without_sound_becomes_no_job(make: Make, database: Database) -> None:
    live, heard = make(), Heard()
    call = await live.open(asked(), heard)
    assert await call.stop() is None
    assert heard.events[-1] == events.Stopped(None, {}, "stop")
    assert not list(live.spools.iterdir())
    with pytest.raises(NoResultFound):
        await read(database, call.id)


async def test_tracks_that_come_by_themselves_become_two_channels(make: Make, database: Database) -> None:
    live = make()
    call = await live.open(asked(sound=Sound("mulaw", 8000, 2)))
    for at in (0.0, 0.04, 0.02, 0.06):
        for channel, byte in ((0, b"\x01"), (1, b"\x02")):
            await call.hear_channel(channel, byte * 160, at)
    await call.stop()
    assert (await bytes_of(live, call.id)).endswith(b"\x01\x02" * 640)


async def test_connections_that_share_a_call_end_it_together(make: Make, database: Database) -> None:
    live = make()
    new = asked(sound=Sound("mulaw", 8000, 2))
    first, second = [await live.calls.open(CRM, new, Heard(), shared_as="bridge-1") for _ in range(2)]
    other = await live.calls.open(Caller("other"), new, Heard(), shared_as="bridge-1")
    assert first is second
    assert other is not first
    await first.hear_channel(0, SECOND)
    await first.stop()
    assert first.is_open
    await second.hear_channel(1, SECOND)
    assert await second.stop() == first.id
    assert (await read(database, first.id)).duration == 1.0
    await other.stop()


async def test_the_call_of_a_process_that_died_becomes_a_job(make: Make, database: Database) -> None:
    live = make()
    call = await live.open(asked())
    await call.hear(SECOND)
    await crash(live, call)
    await make().calls._recover()
    job = await read(database, call.id)
    assert job.duration == pytest.approx(1.0)
    assert (await bytes_of(live, call.id)).endswith(SECOND)
    assert not list(live.spools.iterdir())


async def test_a_frame_that_a_crash_cut_off_is_dropped(make: Make, database: Database) -> None:
    live = make()
    call = await live.open(asked(sound=Sound("pcm_s16le", 8000, 2)))
    await call.hear(b"\x01\x02\x03\x04" * 8000 + b"\x05\x06\x07")
    await crash(live, call)
    await make().calls._recover()
    assert (await read(database, call.id)).duration == 1.0
    assert (await bytes_of(live, call.id)).endswith(b"\x01\x02\x03\x04")


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff"])
async def test_a_spool_whose_description_is_damaged_keeps_its_sound_and_harms_no_other(
    make: Make, database: Database, damage: bytes
) -> None:
    live = make()
    damaged, whole = await live.open(asked()), await live.open(asked())
    for call in (damaged, whole):
        await call.hear(SECOND)
        await asyncio.sleep(0.25)
        await call._close()
        await call._parts.aclose()
        call.spool.close()
    live.calls._calls.clear()
    (damaged.spool.folder / "call.json").write_bytes(damage)
    await make().calls._recover()
    assert (await read(database, whole.id)).duration == 1.0
    assert (damaged.spool.folder / "sound").stat().st_size > len(SECOND)


async def test_a_spool_that_a_process_holds_is_left_alone(make: Make) -> None:
    live = make()
    call = await live.open(asked())
    await call.hear(SECOND)
    await make().calls._recover()
    assert call.is_open
    assert await call.stop() == call.id


async def test_a_call_waits_in_its_spool_while_the_store_is_away(make: Make, database: Database) -> None:
    live, heard = make(), Heard()
    call = await live.open(asked(), heard)
    await call.hear(SECOND)
    with patch.object(LocalAudioStore, "save", side_effect=OSError(errno.EIO, "broken")):
        assert await call.stop() == call.id
    assert [folder.name for folder in live.spools.iterdir()] == [str(call.id)]
    live.calls._try_again_at.clear()
    await live.calls._recover()
    assert (await read(database, call.id)).duration == 1.0
    assert not list(live.spools.iterdir())


async def test_a_crash_between_the_job_and_the_end_of_the_spool_makes_no_second_job(
    make: Make, database: Database
) -> None:
    live = make()
    call = await live.open(asked())
    await call.hear(SECOND)
    with patch.object(Spool, "erase", side_effect=OSError(errno.EIO, "broken")):
        await call.stop()
    live.calls._try_again_at.clear()
    await live.calls._recover()
    assert (await bytes_of(live, call.id)).endswith(SECOND)
    assert not list(live.spools.iterdir())


async def test_a_full_queue_refuses_new_calls_and_loses_none(make: Make, database: Database) -> None:
    live = make(pending=2)
    calls = [await live.open(asked()) for _ in range(3)]
    for call in calls:
        await call.hear(SECOND)
        assert await call.stop() == call.id
    with pytest.raises(Exception, match="wait"):
        await live.open(asked())


async def test_calls_beyond_the_limit_are_refused(make: Make) -> None:
    live = make(most=2)
    calls = [await live.open(asked()) for _ in range(2)]
    with pytest.raises(TryAgainLater):
        await live.open(asked())
    await calls[0].stop()
    await (await live.open(asked())).stop()
    await calls[1].stop()


async def test_a_call_that_gets_too_long_ends_and_is_kept(make: Make, database: Database) -> None:
    live = make(max_seconds=1)
    call = await live.open(asked())
    await call.hear(SECOND * 2)
    with pytest.raises(TooLong):
        await go_on(call)
    assert await call.stop("too_long") == call.id
    assert (await read(database, call.id)).duration == 1.0


async def test_a_limit_that_was_lowered_meanwhile_costs_no_sound(make: Make, database: Database) -> None:
    live = make(max_seconds=60)
    call = await live.open(asked())
    await call.hear(SECOND * 3)
    await crash(live, call)
    await make(max_seconds=1).calls._recover()
    assert (await bytes_of(live, call.id)).endswith(SECOND * 3)
    assert (await read(database, call.id)).status == "pending"


async def test_a_container_that_gets_too_long_ends_and_is_kept(make: Make, database: Database) -> None:
    live = make(max_seconds=4)
    call = await live.open(asked(sound=Sound("container")))
    recording = write_live(tones([440], 48_000, 8), 48_000)

    async def send() -> None:
        for start in range(0, len(recording), 2_000):
            await call.hear(recording[start : start + 2_000])
            await asyncio.sleep(0.1)

    with pytest.raises(TooLong):
        await send()
    assert await call.stop("too_long") == call.id
    assert len(await bytes_of(live, call.id)) > 2_000


async def test_a_full_disk_ends_the_call_and_what_came_is_kept(make: Make, database: Database) -> None:
    live, heard = make(), Heard()
    call = await live.open(asked(), heard)
    await call.hear(SECOND)
    await asyncio.sleep(0.3)
    with (
        patch.object(Spool, "write", side_effect=OSError(errno.ENOSPC, "full")),
        pytest.raises(InsufficientStorage),
    ):
        await go_on(call)
    assert await call.stop("insufficient_storage") == call.id
    assert (await read(database, call.id)).duration == 1.0


async def test_a_drained_process_lets_a_client_go_on_elsewhere(make: Make, database: Database) -> None:
    live, heard, again = make(), Heard(), Heard()
    call = await live.open(asked(can_resume=True), heard)
    await call.hear(SECOND)
    await live.calls.drain(0)
    reconnect = heard.events[-1]
    assert isinstance(reconnect, events.Reconnect)
    with pytest.raises(ShuttingDown):
        await live.open(asked())
    other = make()
    await other.calls._recover()
    assert list(live.spools.iterdir()), "the spool waits for its client"
    with pytest.raises(NotFound):
        await other.open(asked(resume=f"{call.id}.wrong"))
    with pytest.raises(NotFound):
        await other.open(asked(resume=reconnect.resume), caller=Caller("somebody", "else"))
    resumed = await other.open(asked(resume=reconnect.resume, can_resume=True), again)
    assert resumed.id == call.id
    await resumed.hear(SECOND)
    assert await resumed.stop() == call.id
    assert (await read(database, call.id)).duration == 2.0
    finals = [each for each in again.events if isinstance(each, events.Transcript)]
    assert finals[-1].start == 1.0
    before = [each.utterance for each in heard.events if isinstance(each, events.Transcript)]
    assert before
    assert finals[-1].utterance not in before


async def test_a_client_that_goes_on_sending_is_asked_to_reconnect_and_to_nothing_else(make: Make) -> None:
    live, heard = make(), Heard()
    call = await live.open(asked(can_resume=True), heard)

    async def send() -> None:
        while heard.kinds[-1] != "reconnect":
            await call.hear(b"\x12" * 160)
            await asyncio.sleep(0.005)

    sending = asyncio.create_task(send())
    await asyncio.sleep(0.1)
    await live.calls.drain(0)
    await sending
    assert heard.kinds[-1] == "reconnect"


async def test_a_frame_that_an_interruption_cut_off_does_not_shift_what_follows(make: Make, database: Database) -> None:
    live, sound = make(), Sound("pcm_s16le", 8000, 2)
    call = await live.open(asked(sound=sound, can_resume=True))
    await call.hear(b"\x01\x02\x03\x04" * 4000 + b"\x05\x06\x07")
    await live.calls.drain(0)
    resumed = await make().open(asked(sound=sound, resume=call.resume_token))
    await resumed.hear(b"\x01\x02\x03\x04" * 4000)
    await resumed.stop()
    assert (await bytes_of(live, call.id)).endswith(b"\x01\x02\x03\x04" * 8000)


async def test_an_erased_call_does_not_come_back_with_its_spool(make: Make, database: Database, tmp_path: Path) -> None:
    live = make()
    call = await live.open(asked(ask=Ask(metadata={"name": "Miller"})))
    await call.hear(SECOND)
    await asyncio.sleep(0.25)
    shutil.copytree(call.spool.folder, tmp_path / "copy")
    await call.stop()
    async with database.transaction() as session:
        await changing.erase(session, call.id, CRM)
    shutil.copytree(tmp_path / "copy", call.spool.folder)
    await make().calls._recover()
    with pytest.raises(NoResultFound):
        await read(database, call.id)
    assert not list(live.spools.iterdir())
    async with database.transaction() as session:
        row = await rows.read(session, call.id, CRM)
        assert (row.metadata_, row.external_id, await rows.events_after(session, call.id, 0)) == ({}, None, [])


async def test_times_of_tracks_that_cannot_be_yet_write_no_silence(make: Make, database: Database) -> None:
    live = make()
    call = await live.open(asked())
    for number in range(100):
        await call.hear_channel(0, b"\x12" * 160, number * 59.0)
    await call.stop()
    duration = (await read(database, call.id)).duration
    assert duration is not None
    assert duration < 70


async def test_a_client_does_not_wait_for_a_store_that_hangs(make: Make, database: Database) -> None:
    live, heard, goes_on = make(), Heard(), asyncio.Event()
    call = await live.open(asked(), heard)
    await call.hear(SECOND)
    save = LocalAudioStore.save

    async def slow(*arguments: Any) -> Any:
        await goes_on.wait()
        return await save(*arguments)

    with patch.object(LocalAudioStore, "save", slow), patch("app.live.calls.KEEP_SECONDS", 0.1):
        assert await call.stop() == call.id
        assert heard.kinds[-1] == "stopped"
        goes_on.set()
        await live.calls.idle()
    assert (await read(database, call.id)).duration == 1.0


async def test_an_interrupted_call_that_nobody_resumes_becomes_a_job(make: Make, database: Database) -> None:
    live = make()
    call = await live.open(asked(can_resume=True))
    await call.hear(SECOND)
    await live.calls.drain(0)
    with patch("app.live.calls.RESUME_SECONDS", 0):
        await make().calls._recover()
    assert (await read(database, call.id)).duration == 1.0


async def test_a_drained_process_makes_jobs_of_calls_that_cannot_be_resumed(make: Make, database: Database) -> None:
    live, heard = make(resumes=False), Heard()
    call = await live.open(asked(can_resume=True), heard)
    await call.hear(SECOND)
    await live.calls.drain(0)
    assert heard.kinds[-1] == "stopped"
    assert (await read(database, call.id)).duration == 1.0


async def test_followers_read_the_events_of_a_call_until_its_end(make: Make) -> None:
    live = make()
    call = await live.open(asked(ask=Ask(external_id="c-9")))
    (view,) = await live.following.running(CRM)
    assert (view.id, view.status, view.external_id, view.speakers) == (call.id, "running", "c-9", ["speaker"])
    assert await live.following.running(Caller("crm", "other")) == []
    await call.hear(SECOND)
    await call.stop()
    told = [each async for each in live.following.events(call.id, CRM) if each is not None]
    assert [event["type"] for _, event in told] == [
        "started",
        "speech_started",
        "speech_stopped",
        "transcript",
        "stopped",
    ]
    assert "resume" not in told[0][1]
    assert [each async for each in live.following.events(call.id, CRM, after=told[-2][0])] == told[-1:]
    with pytest.raises(NotFound):
        await anext(live.following.events(call.id, Caller("crm", "other")))


async def test_nothing_private_is_told_of_a_call_that_is_redacted(make: Make, database: Database) -> None:
    live, heard = make(), Heard()
    ask = Ask(options=Options(model="", redact=(Entity.PHONE,), word_timestamps=True))
    call = await live.open(asked(ask=ask), heard)
    await call.hear(SECOND)
    await call.stop()
    assert "partial" not in heard.kinds
    (final,) = [each for each in heard.events if isinstance(each, events.Transcript)]
    assert final.text == "[NUMBER] of channel [NUMBER]"  # "second" is a number in French
    assert final.words is None


@pytest.mark.parametrize(
    ("text", "language", "told"),
    [
        ("my card is four one one one", "en", "my card is [NUMBER]"),
        ("vier eins vier eins eins", "en", "[NUMBER]"),
        ("four one one", "de", "[NUMBER]"),
        ("it is 4111 thank you", "", "it is [NUMBER] thank you"),
        ("how are you", "en", "how are you"),
    ],
)
def test_parts_of_numbers_are_taken_out_in_all_languages(text: str, language: str, told: str) -> None:
    words = tuple(Word(second, second + 1, f" {word}") for second, word in enumerate(text.split()))
    final = Final(0, 0, 0.0, 9.0, text, language, words)
    assert redacted_text(final, Options(model="base", redact=(Entity.PHONE,))) == told


async def test_the_sound_may_not_change_when_a_call_goes_on(make: Make) -> None:
    live = make()
    call = await live.open(asked(can_resume=True))
    await call.hear(SECOND)
    await live.calls.drain(0)
    new = replace(asked(resume=call.resume_token), sound=Sound("alaw", 8000, 1))
    with pytest.raises(Exception, match="sound"):
        await make().open(new)
    assert list(live.spools.iterdir())
