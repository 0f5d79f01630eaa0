"""DELETE leaves no byte of what a caller sent or said in any place that the service writes to. Nor does redaction."""

import io
import json
import re
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.database.connections import Database
from app.jobs.claims import parts
from app.jobs.claims.claiming import Claimed
from app.transcripts.transcript import Options, Segment, TranscriptWarning
from testing.media import as_pcm, write_audio
from testing.recordings import tone
from testing.rows import SUCCESS, claim, enqueue, finish
from testing.service import Service, serving
from tests.conftest import ALICE

CANARY = "Kanarienvogel48151"
HEARD = replace(SUCCESS, transcript=replace(SUCCESS.transcript, warnings=(TranscriptWarning("heard", CANARY),)))


async def dumped(database: Database) -> str:
    """Every row of every table, as text."""
    connection: Any = await database.connect_raw()
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [await connection.fetch(f'SELECT t::text FROM "{table[0]}" t') for table in tables]
    finally:
        await connection.close()
    return "\n".join(str(row) for table in rows for row in table)


def written(folder: Path) -> bytes:
    """All files under a folder, with their names."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return b"\n".join(str(path).encode() + path.read_bytes() for path in files)


def send(service: Service) -> dict[str, Any]:
    recording = tone() + b"LIST" + (len(CANARY) + 4).to_bytes(4, "little") + b"INFO" + CANARY.encode()
    files = {"file": (f"{CANARY}.wav", recording)}
    metadata = json.dumps({"name": CANARY})
    fields = {"external_id": CANARY, "prompt": CANARY, "hotwords": CANARY, "metadata": metadata}
    headers = {"Idempotency-Key": CANARY}
    response = service.client.post("/v1/transcriptions", files=files, data=fields, headers=headers)
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    return job


async def running_with_text(database: Database) -> Claimed:
    """A job whose worker has written the first of its text."""
    await enqueue(database, options=Options("base", reports_text=True))
    [job] = await claim(database)
    async with database.transaction() as session:
        await parts.write(session, job, parts.Part(0, 2.0, (Segment(0, 0, "speaker", 0.0, 1.0, CANARY, "en"),)))
    return job


async def test_deleting_a_transcription_leaves_no_byte_of_it(database: Database, tmp_path: Path) -> None:
    address = database.address.text
    with serving(tmp_path, "--no-executor", key=ALICE, DATABASE_URL=address, API_KEYS=f"alice:{ALICE}") as service:
        links = send(service)["links"]
        [job] = await claim(database)
        await finish(database, job, HEARD)
        assert CANARY in service.client.get(links["transcript"]).text
        assert CANARY in await dumped(database)
        assert CANARY.encode() in written(tmp_path / "audio")
        assert service.client.delete(links["self"]).status_code == 204
        assert service.client.get(links["self"]).status_code == 404
        running = await running_with_text(database)
        assert CANARY in await dumped(database)
        assert service.client.delete(f"/v1/transcriptions/{running.id}").status_code == 204
    assert CANARY not in await dumped(database)
    assert CANARY.encode() not in written(tmp_path)  # the audio, the temporary files and the log are in it


SPOKEN = Path(__file__).parent / "privacy" / "card.wav"
"""A computer's voice says a made-up card number, at 8 kHz in µ-law. The model leaves out the last group of digits."""


def samples_of(recording: bytes) -> Any:
    """The samples of a WAV file, of the shape (channels, samples) in −1…1, at 8 kHz."""
    with wave.open(io.BytesIO(recording)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, sound.getnchannels()).T
        step = sound.getframerate() // 8000
    return samples[:, : samples.shape[1] // step * step].reshape(len(samples), -1, step).mean(axis=2) / 32768


def as_telephone(samples: Any, folder: Path) -> bytes:
    return write_audio(
        folder / "again.wav", samples.astype(np.float32), 8000, container="wav", codec="pcm_mulaw"
    ).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["mix", "split"])
async def test_a_spoken_card_number_is_found_nowhere_and_not_heard_in_the_recording(
    database: Database, tmp_path: Path, channels: str
) -> None:
    """With the real model, from the request to the files, the database and the log."""
    recording = SPOKEN.read_bytes()
    if channels == "split":
        spoken = samples_of(as_pcm(recording))
        recording = as_telephone(np.vstack([np.zeros_like(spoken), spoken]), tmp_path)
    settings = {"DATABASE_URL": database.address.text, "KEEP_AUDIO_DAYS": "1"}
    with serving(tmp_path / "service", **settings) as service:
        options = {"channels": channels, "language": "en", "word_timestamps": "true"}
        heard = service.ended(service.create(recording, **options))
        number = service.client.get(f"{heard['links']['transcript']}?format=text").text.partition("number is ")[2]
        assert re.match(r"[0-9]{4}, [0-9]{2}", number)
        said = number[:8]  # longer than what an id may have by chance
        service.client.delete(heard["links"]["self"])

        job = service.ended(service.create(recording, redact="true", **options))
        for form in ("json", "text", "srt", "vtt", "tsv", "whisper"):
            text = service.client.get(f"{job['links']['transcript']}?format={form}").text
            assert "[CREDIT_DEBIT_NUMBER]" in text
            assert said not in text
        rows, files = await dumped(database), written(tmp_path / "service")
        assert said not in rows
        assert said.encode() not in files

        silenced = service.client.get(f"{job['links']['audio']}?redacted=true").content
        again = service.ended(service.create(as_telephone(samples_of(silenced), tmp_path), **options))
        text = service.client.get(f"{again['links']['transcript']}?format=text").text
        _, announced, after = text.partition("card number")
        assert announced
        assert not re.search(r"[0-9]|four|two", after)
