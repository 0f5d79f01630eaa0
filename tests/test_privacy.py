"""DELETE leaves no byte of what a caller sent or said in any place that the service writes to."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.database.connections import Database
from app.jobs.claims import parts
from app.jobs.claims.claiming import Claimed
from app.transcripts.transcript import Options, Segment, TranscriptWarning
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
