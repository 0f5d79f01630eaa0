"""More recordings than the service can probe at the same time, and clients that hang up before the answer."""

import asyncio
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import text

from app.audio import decode
from app.database.connections import Database
from app.intake import prober
from testing.forms import refused
from testing.listening import Listening, listening
from testing.recordings import tone
from testing.service import Service, eventually
from testing.waiting import soon, until

HANGING = "import time; time.sleep(600)"


class Probes:
    """The child processes that probe. After `hang`, each new one holds its place until it is ended."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._hanging = folder / "hanging.py"
        self._hanging.write_text(HANGING)
        self._real = decode.PROGRAM
        self._monkeypatch = monkeypatch

    def hang(self) -> None:
        self._monkeypatch.setattr(decode, "PROGRAM", self._hanging)

    def work(self) -> None:
        self._monkeypatch.setattr(decode, "PROGRAM", self._real)

    def children(self) -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if str(self._hanging) in child.cmdline()]


@pytest.fixture
def probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probes:
    return Probes(tmp_path, monkeypatch)


async def post(service: Listening, key: str | None = None, **fields: str) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await service.client.post(
        "/v1/transcriptions", files={"file": ("call.wav", tone())}, data=fields, headers=headers
    )


async def ids(service: Listening) -> list[str]:
    return [job["id"] for job in (await service.client.get("/v1/transcriptions")).json()["items"]]


async def hung_up(client: asyncio.Task[httpx.Response]) -> None:
    client.cancel()
    await asyncio.wait([client])


async def test_a_repeated_request_is_answered_while_all_probes_hang(
    database: Database, tmp_path: Path, probes: Probes
) -> None:
    async with listening(database, tmp_path) as service:
        first = await post(service, "call-1")
        probes.hang()
        others = [asyncio.create_task(post(service)) for _ in range(prober.PROBES_OF_ONE_KEY)]
        await soon(lambda: len(probes.children()) == prober.PROBES_OF_ONE_KEY)
        again, other = await post(service, "call-1"), await post(service, "call-1", language="de")
        for client in others:
            assert not client.done()
            await hung_up(client)
        await soon(lambda: len(service.stored_files()) == 1)
    assert (first.status_code, again.status_code, again.json()) == (202, 200, first.json())
    refused(other, 422, "idempotency_key_reused")


async def test_a_new_recording_with_a_key_is_refused_by_a_full_queue_without_a_probe(
    database: Database, tmp_path: Path, probes: Probes
) -> None:
    async with listening(database, tmp_path, max_pending="1") as service:
        await post(service, "call-1")
        probes.hang()
        refused(await post(service, "call-2"), 429, "queue_full")
        assert len(service.stored_files()) == 1


async def test_a_client_that_hangs_up_before_its_probe_leaves_nothing(
    database: Database, tmp_path: Path, probes: Probes, capsys: pytest.CaptureFixture[str]
) -> None:
    probes.hang()
    async with listening(database, tmp_path) as service:
        clients = [asyncio.create_task(post(service, f"call-{n}")) for n in range(prober.PROBES_OF_ONE_KEY)]
        await soon(lambda: len(probes.children()) == prober.PROBES_OF_ONE_KEY)
        waiting = asyncio.create_task(post(service, "queued"))
        await soon(lambda: len(service.stored_files()) == prober.PROBES_OF_ONE_KEY + 1)
        await hung_up(waiting)
        await soon(lambda: len(service.stored_files()) == prober.PROBES_OF_ONE_KEY)
        for client in clients:
            await hung_up(client)
        await soon(lambda: service.stored_files() == [])
        assert probes.children() == []
        probes.work()
        accepted = await asyncio.gather(*(post(service, f"call-{n}") for n in range(prober.PROBES_OF_ONE_KEY)))
        assert [answer.status_code for answer in accepted] == [202] * prober.PROBES_OF_ONE_KEY
        assert sorted(await ids(service)) == sorted(answer.json()["id"] for answer in accepted)
    logged = "".join(capsys.readouterr())
    assert logged.count("status=499") == prober.PROBES_OF_ONE_KEY + 1
    assert "error" not in logged


async def test_a_job_is_written_even_if_its_client_hangs_up_meanwhile(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def writing() -> bool:
        blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'transcription'::regclass"
        async with database.engine.connect() as connection:
            return bool((await connection.execute(text(blocked))).scalar())

    async with listening(database, tmp_path) as service:
        async with database.engine.begin() as connection:
            await connection.execute(text("LOCK TABLE transcription IN EXCLUSIVE MODE"))
            client = asyncio.create_task(post(service, "call-1"))
            await until(writing)
            await hung_up(client)
            assert (await service.client.get("/healthz")).status_code == 200
        again = await post(service, "call-1")
        assert again.status_code == 200
        assert [file.name for file in service.stored_files()] == await ids(service) == [again.json()["id"]]
    assert "status=499" not in "".join(capsys.readouterr())


async def test_one_recording_too_many_is_refused_and_leaves_nothing(
    database: Database, tmp_path: Path, probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prober, "MAX_PENDING_PROBES", prober.PROBES_OF_ONE_KEY)
    probes.hang()
    async with listening(database, tmp_path) as service:
        clients = [asyncio.create_task(post(service)) for _ in range(prober.MAX_PENDING_PROBES)]
        await soon(lambda: len(probes.children()) == prober.MAX_PENDING_PROBES)
        answer = await post(service)
        refused(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == str(prober.PROBE_RETRY_SECONDS)
        assert len(service.stored_files()) == prober.MAX_PENDING_PROBES
        for client in clients:
            await hung_up(client)
        await soon(lambda: service.stored_files() == [])
        probes.work()
        assert (await post(service)).status_code == 202


def test_a_wait_ends_when_its_client_hangs_up(guarded: Service) -> None:
    path = guarded.create()["links"]["self"]
    with pytest.raises(httpx.ReadTimeout):
        guarded.client.get(path, params={"wait": 60}, timeout=0.5)
    eventually(lambda: any(path in line and '"status": 499' in line for line in guarded.log().splitlines()))
