"""The worker on jobs that redact: what is taken out is written nowhere, and a kept recording is silenced."""

import asyncio
import io
import json
import re
import wave
from collections.abc import AsyncIterator
from copy import copy
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import inspect
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from app.errors import InsufficientStorage
from app.jobs.changes import changing
from app.jobs.claims import leases
from app.jobs.claims.capacity import Capacity
from app.jobs.claims.claiming import STORED
from app.jobs.lifecycle import Failed, Status
from app.jobs.models import StoredTranscript, Transcription, UnredactedTranscript
from app.jobs.upkeep import erasure
from app.jobs.worker import redacting
from app.jobs.worker.blame import DISK_PAUSE
from app.privacy.redaction import Redacted, Removed
from app.storage.store import StoredAudio
from app.transcripts.entities import Entity
from app.transcripts.transcript import Channel, Options, Span
from testing.files import files_in
from testing.job_bench import Bench, Clock, waits_after, working
from testing.recordings import SAMPLE_CALL
from testing.rows import FORGET_AUDIO, KEEP_AUDIO, TESTER, claim, enqueue, finish, read
from testing.waiting import soon
from tests.privacy.said import transcript_of
from tests.test_privacy import dumped

CARD = "4929 8815 3320 0716"
SAID = replace(
    transcript_of("Can I have the number on the card?", f"Yes, it is {CARD}."),
    duration=20.0,
    channels=(Channel(0, "agent", "en", 1.0, 3.0), Channel(1, "customer", "en", 1.0, 3.0)),
)
REDACT = Options("base", channels="split", redact=tuple(Entity))


async def places(bench: Bench, folder: Path) -> str:
    """All that is written anywhere: each row of each table, and each file with its name."""
    files = [str(path) + path.read_bytes().decode("latin-1") for path in files_in(folder)]
    return "\n".join([await dumped(bench.database), *files])


def digits_in(text: str) -> list[str]:
    """The groups of the number that stand in the text, alone or together. Ids and times have some by chance."""
    digits = CARD.replace(" ", "")
    found = re.findall(rf"(?<![0-9a-f-])(?:{'|'.join(CARD.split())})(?![0-9a-f-])", text)
    return [*found, *([digits] if digits in text else [])]


def test_digits_are_found_in_words_and_not_in_ids() -> None:
    assert digits_in('{"text": "It is 4929 8815, 3320."}') == ["4929", "8815", "3320"]
    assert digits_in('{"digits": "4929881533200716"}') == ["4929881533200716"]
    assert digits_in('{"id": "019ad716-0716-7f0716", "at": "10:33:20.160716"}') == []


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled", "tried again"])
async def test_what_is_taken_out_is_found_nowhere_however_the_job_ends(
    bench: Bench, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    bench.keep_audio_days = 1
    bench.runner = bench.new_runner()
    bench.engine.result = SAID
    save, reached = bench.store.save, asyncio.Event()

    async def fail_or_hang(key: str, stream: AsyncIterator[bytes], most: int) -> StoredAudio:
        if ending == "completed" or reached.is_set():
            return await save(key, stream, most)
        await save(key, stream, most)
        reached.set()
        if ending == "tried again":
            raise InsufficientStorage("full", retry_after=5)
        if ending == "failed":
            raise RuntimeError(f"heard {CARD}") from None
        await asyncio.Event().wait()
        raise AssertionError

    with capture_logs() as logs:
        async with working(bench):
            job_id = await bench.enqueue(SAMPLE_CALL.read_bytes(), options=replace(REDACT, reports_text=True))
            monkeypatch.setattr(bench.store, "save", fail_or_hang)
            await bench.hurry(job_id)
            if ending == "cancelled":
                await asyncio.wait_for(reached.wait(), 30)
                async with bench.database.transaction() as session:
                    await changing.request_cancel(session, job_id, TESTER, KEEP_AUDIO)
            if ending in ("failed", "tried again"):
                await asyncio.wait_for(reached.wait(), 30)
                await bench.until(job_id, partial(waits_after, int(ending == "failed")))
                clock.seconds += DISK_PAUSE.total_seconds()
                await bench.hurry(job_id)
            job = await bench.ended(job_id)
            await soon(lambda: len(bench.audio_files()) == 1)  # a worker erases recordings after it wrote the end
    assert job.status == (Status.CANCELLED if ending == "cancelled" else Status.COMPLETED)
    assert bench.engine.reports_to == [None] * len(bench.engine.given)
    assert digits_in(await places(bench, tmp_path)) == []
    told = [entry for entry in logs if "exc_info" not in entry]  # the test put the number into an error by itself
    assert digits_in(json.dumps(told, default=str)) == []
    assert len(bench.audio_files()) == 1


async def test_the_original_is_kept_apart_and_goes_with_the_call(bench: Bench, tmp_path: Path) -> None:
    bench.keep_audio_days = 1
    bench.runner = bench.new_runner()
    bench.engine.result = SAID
    async with working(bench):
        job = await bench.ended(
            await bench.enqueue(SAMPLE_CALL.read_bytes(), options=replace(REDACT, redact_keep=True))
        )
    async with bench.database.transaction() as session:
        kept = await session.get(UnredactedTranscript, job.id)
        shown = await session.get(StoredTranscript, job.id)
    assert kept is not None
    assert shown is not None
    assert CARD in kept.transcript
    assert '"words":null' in kept.transcript
    assert digits_in(shown.transcript) == []
    assert job.redacted_bytes is not None
    assert job.redactions == {"CREDIT_DEBIT_NUMBER": 1}
    assert {path.name for path in bench.audio_files()} == {job.audio_key, job.original_audio_key}
    async with bench.database.transaction() as session:
        keys = [job.audio_key or "", job.original_audio_key or "", "another"]
        assert await erasure.needed_audio(session, keys) == set(keys[:2])
        erased = await changing.erase(session, job.id, TESTER)
    await bench.runner._retention.erase_audio(job.id, [erased.audio_key or "", erased.original_audio_key or ""])
    assert bench.audio_files() == []
    assert digits_in(await places(bench, tmp_path)) == []


async def test_the_words_are_there_only_if_they_were_asked_for(bench: Bench) -> None:
    bench.engine.result = SAID
    async with working(bench):
        jobs = [
            await bench.ended(
                await bench.enqueue(SAMPLE_CALL.read_bytes(), options=replace(REDACT, word_timestamps=wanted))
            )
            for wanted in (False, True)
        ]
    async with bench.database.transaction() as session:
        found = [await session.get(StoredTranscript, job.id) for job in jobs]
    words = [json.loads(stored.transcript)["segments"][1]["words"] for stored in found if stored is not None]
    assert words[0] is None
    assert [word["word"] for word in words[1]][-1] == " [CREDIT_DEBIT_NUMBER]."


async def test_a_recording_that_is_not_kept_is_not_silenced_first(bench: Bench) -> None:
    bench.engine.result = SAID
    async with working(bench):
        job = await bench.ended(await bench.enqueue(SAMPLE_CALL.read_bytes(), options=REDACT))
    assert (job.audio_key, job.redacted_bytes, bench.audio_files()) == (None, None, [])


async def test_the_tone_covers_what_was_taken_out(bench: Bench) -> None:
    bench.keep_audio_days = 1
    bench.runner = bench.new_runner()
    bench.engine.result = SAID
    async with working(bench):
        job = await bench.ended(await bench.enqueue(SAMPLE_CALL.read_bytes(), options=REDACT))
    [file] = bench.audio_files()
    assert file.stat().st_size == job.redacted_bytes
    with wave.open(io.BytesIO(file.read_bytes())) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, 16_000)
        assert sound.getnframes() / 16_000 == pytest.approx(job.duration)
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, 2)
    [spoken] = [segment for segment in SAID.segments if segment.channel == 1]
    assert spoken.words is not None
    numbers = spoken.words[3:]
    silenced = samples[int(numbers[0].start * 16_000) : int(numbers[-1].end * 16_000)]
    for channel in range(2):
        spectrum = np.abs(np.fft.rfft(silenced[:, channel] / 32768))
        assert np.sum(spectrum[np.argmax(spectrum) - 3 : np.argmax(spectrum) + 4] ** 2) > 0.99 * np.sum(spectrum**2)


def test_a_tone_reaches_to_the_next_word_of_its_channel_and_leaves_the_other_side_its_words() -> None:
    call = transcript_of("The card, please?", ["Four", "please"])
    customer = [segment for segment in call.segments if segment.channel == 1]
    span = Span(customer[0].start, customer[0].end)
    assert customer[0].words is not None
    masked = replace(customer[0], words=tuple(replace(word, word=" [PIN]") for word in customer[0].words))
    segments = tuple(masked if segment is customer[0] else segment for segment in call.segments)
    result = Redacted(replace(call, segments=segments), (Removed(1, span, Entity.PIN),))
    stretches = redacting.silenced(result, 2)
    [on_other], [on_own] = stretches[0], stretches[1]
    assert on_other == pytest.approx((span.start - 0.25, span.end + 0.25))
    assert on_own == pytest.approx((0.0, customer[1].start))


async def test_a_worker_of_an_older_version_does_not_get_a_job_that_redacts(bench: Bench) -> None:
    """It does not know the option, so it would write the transcript as it was heard."""
    private = await enqueue(bench.database, options=REDACT, priority=0)
    termed = await enqueue(bench.database, options=Options("base", redact_terms=("Miller",)), priority=0)
    usual = await enqueue(bench.database)
    older = copy(STORED.among_keys)
    older.text = older.text.replace(", set_config('callscribe.redacts', 'on', true)", "")
    assert older.text != STORED.among_keys.text
    statement = replace(STORED, among_keys=older).filling(Capacity(9), worker="old", lease=leases.LEASE)
    async with bench.database.engine.begin() as connection:
        claimed = [row.id for row in await connection.execute(statement)]
    assert claimed == [usual.id]
    waiting = [await read(bench.database, job.id) for job in (private, termed)]
    assert [(job.status, job.attempts) for job in waiting] == [(Status.PENDING, 0)] * 2
    assert {job.id for job in await claim(bench.database, 9)} == {private.id, termed.id}


async def test_a_retry_by_an_older_version_still_redacts(bench: Bench) -> None:
    """It copies only the options that it knows."""
    options = replace(REDACT, redact_terms=("Miller",), redact_keep=True)
    private = await enqueue(bench.database, options=options)
    usual = await enqueue(bench.database)
    for job in (private, usual):
        known = {name: value for name, value in job.options.items() if not name.startswith("redact")}
        retry_id = uuid7()
        old = await read(bench.database, job.id)
        columns = [column.key for column in inspect(Transcription).column_attrs if column.columns[0].computed is None]
        copied = {name: getattr(old, name) for name in columns}
        async with bench.database.transaction() as session:
            session.add(Transcription(**copied | {"id": retry_id, "retry_of": job.id, "options": known}))
        stored = await read(bench.database, retry_id)
        assert stored.options == job.options


@pytest.mark.parametrize("forget", ["when it fails", "later"])
async def test_the_terms_go_with_the_recording_of_a_job_that_failed(bench: Bench, forget: str) -> None:
    await enqueue(bench.database, options=replace(REDACT, redact_terms=("Miller",)))
    [claimed] = await claim(bench.database)
    at_end = FORGET_AUDIO if forget == "when it fails" else KEEP_AUDIO
    await finish(bench.database, claimed, Failed("bad_media", "It is broken."), at_end)
    if forget == "later":
        assert (await read(bench.database, claimed.id)).options["redact_terms"] == ["Miller"]
        async with bench.database.transaction() as session:
            await erasure.forget_audio(session, timedelta(0), timedelta(0), 9)
    stored = await read(bench.database, claimed.id)
    assert (stored.audio_key, stored.options) == (None, claimed.options | {"redact_terms": []})
