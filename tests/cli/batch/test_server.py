"""What the client of a batch does when the server is away, full, or refuses something."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from app.cli.batch.listing import Fingerprint
from app.cli.batch.patience import LONGEST_RETRY_AFTER_SECONDS, Patience
from app.cli.batch.server import FileChanged, Refusal, Server, open_client
from app.cli.batch.state import Unusable
from app.transcripts.formats import Format
from testing.breaking_relay import breaking
from testing.ports import free_ports
from testing.recordings import tone
from testing.service import Service
from tests.conftest import ALICE

MIB = 1024 * 1024


def no_sleep(seconds: float) -> None:
    """Waits for nothing."""


class Connect(Protocol):
    def __call__(self, url: str, key: str = ..., sleep: Callable[[float], None] = ...) -> Server: ...


@pytest.fixture
def server_of() -> Iterator[Connect]:
    """Makes clients of servers. Their connections are closed after the test."""
    with ExitStack() as clients:

        def connect(url: str, key: str = ALICE, sleep: Callable[[float], None] = no_sleep) -> Server:
            client = clients.enter_context(open_client(url, key, 2))
            return Server(client, Patience(list[str]().append, sleep))

        yield connect


def recording(folder: Path, content: bytes | None = None) -> tuple[Path, Fingerprint]:
    path = folder / "call.wav"
    path.write_bytes(tone() if content is None else content)
    return path, Fingerprint.of(path.stat())


def test_a_full_queue_is_waited_for(server_of: Connect, guarded: Service, tmp_path: Path) -> None:
    waited: list[float] = []

    def make_room(seconds: float) -> None:
        waited.append(seconds)
        guarded.client.delete(guarded.read("/v1/transcriptions")["items"][0]["links"]["self"])

    server = server_of(guarded.url, sleep=make_room)
    path, found = recording(tmp_path)
    jobs = [server.post(path, found, "call.wav", {"priority": "8"}, f"full-{number}") for number in range(6)]
    assert all(isinstance(job, dict) for job in jobs)
    assert waited
    assert all(5 <= seconds <= LONGEST_RETRY_AFTER_SECONDS for seconds in waited)


async def test_an_upload_whose_answer_is_lost_becomes_one_job(
    server_of: Connect, guarded: Service, tmp_path: Path
) -> None:
    path, found = recording(tmp_path)
    async with breaking(guarded.port, break_after=0, breaks=3) as relay:
        server = server_of(f"http://127.0.0.1:{relay.port}")
        job = await asyncio.to_thread(server.post, path, found, "call.wav", {}, "lost-1")
    assert relay.breaks_left == 0
    assert isinstance(job, dict)
    assert [each["id"] for each in guarded.read("/v1/transcriptions")["items"]] == [job["id"]]


async def test_a_recording_during_whose_uploads_all_connections_break_is_given_up(
    server_of: Connect, guarded: Service, tmp_path: Path
) -> None:
    path, found = recording(tmp_path)
    async with breaking(guarded.port, break_after=0, breaks=100) as relay:
        server = server_of(f"http://127.0.0.1:{relay.port}")
        answer = await asyncio.to_thread(server.post, path, found, "call.wav", {}, "lost-2")
    assert isinstance(answer, Refusal)
    assert answer.code == "upload_failed"


def test_a_refusal_that_comes_before_the_end_of_a_long_upload_is_read(
    server_of: Connect, guarded: Service, tmp_path: Path
) -> None:
    path = tmp_path / "call.wav"
    with path.open("wb") as file:
        file.truncate(80 * MIB)
    answer = server_of(guarded.url).post(path, Fingerprint.of(path.stat()), "call.wav", {}, "long")
    assert isinstance(answer, Refusal)
    assert answer.code == "too_large"


def test_a_file_that_changed_is_not_uploaded(server_of: Connect, guarded: Service, tmp_path: Path) -> None:
    path, found = recording(tmp_path)
    path.write_bytes(tone(0.3))
    with pytest.raises(FileChanged):
        server_of(guarded.url).post(path, found, "call.wav", {}, "changed")
    assert guarded.read("/v1/transcriptions")["items"] == []


def test_fields_of_several_values_arrive_whole(server_of: Connect, guarded: Service, tmp_path: Path) -> None:
    path, found = recording(tmp_path)
    fields = {"channels": "split", "channel_labels[]": ["Miller, Anna"], "hotwords[]": ["a,b"], "external_id": "电话/1"}
    job = server_of(guarded.url).post(path, found, "电话 #1?.wav", fields, "fields")
    assert isinstance(job, dict)
    assert job["options"]["channel_labels"] == ["Miller, Anna"]
    assert job["options"]["hotwords"] == ["a,b"]
    assert (job["external_id"], job["audio"]["filename"]) == ("电话/1", "电话 #1?.wav")


def test_wrong_options_and_a_wrong_key_stop_the_batch(server_of: Connect, guarded: Service, tmp_path: Path) -> None:
    path, found = recording(tmp_path)
    with pytest.raises(Unusable, match="refuses the options"):
        server_of(guarded.url).post(path, found, "call.wav", {"language": "xx"}, "wrong")
    with pytest.raises(Unusable, match="does not take the API key"):
        server_of(guarded.url, key="nonsense").greet()


def test_a_job_that_the_server_does_not_know_is_none(server_of: Connect, guarded: Service) -> None:
    server = server_of(guarded.url)
    unknown = "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"
    assert server.ended(unknown) is None
    assert server.transcript(unknown, Format.JSON) is None


@pytest.mark.parametrize("path", ["/openapi.json", "/elsewhere"])
def test_an_address_that_is_no_server_of_ours_is_refused(server_of: Connect, guarded: Service, path: str) -> None:
    with pytest.raises(Unusable, match="is no Callscribe server: it answers 404"):
        server_of(guarded.url + path).greet()


def test_nobody_at_the_address_is_said_immediately(server_of: Connect) -> None:
    [port] = free_ports(1)
    with pytest.raises(Unusable, match=f"http://127.0.0.1:{port} cannot be reached: .*refused"):
        server_of(f"http://127.0.0.1:{port}").greet()


def test_trouble_is_reported_when_it_begins_and_when_it_ends() -> None:
    said: list[str] = []
    answers = itertools.chain([500, 502, 503, 507, 429, None], itertools.repeat(200))

    def send() -> httpx.Response:
        status = next(answers)
        if status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, json={"detail": "Later."})

    assert Patience(said.append, no_sleep).answer(send).status_code == 200
    assert said == [
        "the server answers 500: Later.; the command tries again until it answers",
        "the server answers again",
    ]


def test_a_fault_of_the_service_is_not_waited_for_without_end() -> None:
    asked = itertools.count(1)
    answer = Patience(list[str]().append, no_sleep).answer(lambda: httpx.Response(500, json={"asked": next(asked)}))
    assert answer.json() == {"asked": 5}


def test_pauses_grow_to_a_minute_and_end_there() -> None:
    pauses: list[float] = []
    answers = itertools.chain(itertools.repeat(503, 2000), itertools.repeat(200))
    Patience(list[str]().append, pauses.append).answer(lambda: httpx.Response(next(answers)))
    assert len(pauses) == 2000
    assert 0.5 <= pauses[0] <= 1
    assert all(32 <= pause <= 64 for pause in pauses[6:])
