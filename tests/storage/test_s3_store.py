"""The store in a bucket of a real S3 server: a recording is saved completely or not at all."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from app.errors import TooLarge
from app.storage import s3
from app.storage.s3 import BucketUnavailable
from app.storage.s3_store import S3AudioStore
from app.storage.s3_url import S3Url
from app.storage.store import StoreUnavailable
from app.storage.workspace import Workspace
from testing.breaking_relay import breaking
from testing.s3_server import S3Server, s3_serving
from testing.service import eventually

MIB = 1024 * 1024
PLENTY = 100 * MIB


@pytest.fixture
def workspace_of_store(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(tmp_path / "work")
    yield workspace
    workspace.close()


@pytest.fixture
def store(bucket: str, workspace_of_store: Workspace) -> S3AudioStore:
    return S3AudioStore(S3Url(bucket, "tenant/audio"), workspace_of_store)


async def streamed(content: bytes, chunk_bytes: int = 64 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(content), chunk_bytes):
        yield content[start : start + chunk_bytes]


def use(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


async def emptied(server: S3Server, bucket: str) -> None:
    """After an upload in parts was aborted, the server may list a part for a moment longer."""
    await asyncio.to_thread(eventually, lambda: server.files(bucket) == [])


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 12 * MIB + 1])
async def test_one_replica_reads_a_recording_that_another_saved(
    store: S3AudioStore, bucket: str, tmp_path: Path, s3_server: S3Server, size: int
) -> None:
    content, key = os.urandom(size), str(uuid4())
    audio = await store.save(key, streamed(content), size)
    assert (audio.key, audio.bytes, audio.sha256) == (key, size, hashlib.sha256(content).hexdigest())
    elsewhere = Workspace(tmp_path / "elsewhere")
    replica = S3AudioStore(S3Url(bucket, "tenant/audio"), elsewhere)
    async with replica.local_path(key) as path:
        assert path.read_bytes() == content
    assert not path.exists()
    elsewhere.close()
    await replica.delete(key)
    assert s3_server.files(bucket) == []


async def test_reading_a_missing_recording_fails_and_erasing_it_succeeds(store: S3AudioStore) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        async with store.local_path("gone"):
            pass
    await store.delete("gone")
    await store.check()


async def test_a_store_lists_only_its_own_recordings_by_age(
    store: S3AudioStore, bucket: str, workspace_of_store: Workspace
) -> None:
    for place, key in (("tenant/audio", "ours"), ("tenant", "theirs"), ("tenant/audio/deeper", "theirs too")):
        await S3AudioStore(S3Url(bucket, place), workspace_of_store).save(key, streamed(b"call"), PLENTY)
    assert await store.untouched(-60) == ["ours"]
    assert await store.untouched(3600) == []


async def test_the_store_gives_up_a_server_that_never_answers(
    bucket: str, workspace_of_store: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("ANSWER_SECONDS", "PROGRESS_SECONDS", "CHECK_SECONDS", "UNDO_SECONDS"):
        monkeypatch.setattr(s3, limit, 0.2)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    use({"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}, monkeypatch)
    store = S3AudioStore(S3Url(bucket, "tenant/audio"), workspace_of_store)
    async with server:
        for size in (1, 32 * MIB):
            with pytest.raises(BucketUnavailable, match="no answer"):
                await store.save("hung", streamed(bytes(size)), PLENTY)
        with pytest.raises(BucketUnavailable, match="no answer"):
            await store.read("hung", range(9))
        with pytest.raises(BucketUnavailable, match="no answer"):
            await store.delete("hung")
        with pytest.raises(BucketUnavailable, match="no answer"):
            await store.check()
        server.close()


async def test_a_recording_over_the_limit_leaves_nothing(store: S3AudioStore, bucket: str, s3_server: S3Server) -> None:
    async def too_much() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield bytes(MIB)
        await asyncio.to_thread(eventually, lambda: s3_server.files(bucket) != [])
        yield b"one byte too many"

    with pytest.raises(TooLarge):
        await store.save("long", too_much(), 12 * MIB)
    await emptied(s3_server, bucket)


async def test_an_upload_that_breaks_off_or_is_cancelled_leaves_nothing(
    store: S3AudioStore, bucket: str, s3_server: S3Server
) -> None:
    halfway, go_on = asyncio.Event(), asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield bytes(12 * MIB)
        await asyncio.to_thread(eventually, lambda: s3_server.files(bucket) != [])
        halfway.set()
        await go_on.wait()
        raise ConnectionResetError

    saving = asyncio.create_task(store.save("cancelled", half(), PLENTY))
    await halfway.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    await emptied(s3_server, bucket)
    go_on.set()
    with pytest.raises(ConnectionResetError):
        await store.save("broken", half(), PLENTY)
    await emptied(s3_server, bucket)


async def test_cancelling_an_upload_does_not_wait_for_a_server_that_never_answers(
    workspace_of_store: Workspace, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "UNDO_SECONDS", 0.1)
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    use(s3_server.environment(port=server.sockets[0].getsockname()[1]), monkeypatch)
    store = S3AudioStore(S3Url("calls", "tenant"), workspace_of_store)
    saving = asyncio.create_task(store.save("call", streamed(bytes(12 * MIB)), PLENTY))
    async with asyncio.timeout(10):
        await asked.wait()
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
    for undoing in store._bucket._undoing:
        undoing.cancel()
    server.close()


@pytest.mark.parametrize(
    ("key", "secret", "reason"),
    [
        ("owner", "not-the-secret", "SignatureDoesNotMatch"),
        ("nobody", "secret", "InvalidAccessKeyId"),
        ("stranger", "stranger-secret", "AccessDenied"),
    ],
)
async def test_wrong_credentials_are_reported(
    bucket: str,
    s3_server: S3Server,
    workspace_of_store: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    secret: str,
    reason: str,
) -> None:
    use(s3_server.environment(key, secret), monkeypatch)
    store = S3AudioStore(S3Url(bucket, "tenant"), workspace_of_store)
    for trouble in await troubles(store):
        assert str(trouble) == f"the bucket cannot be used: {reason}"
    assert s3_server.files(bucket) == []


async def test_a_missing_bucket_is_reported(bucket: str, workspace_of_store: Workspace) -> None:
    store = S3AudioStore(S3Url(f"{bucket}-2", "tenant"), workspace_of_store)
    reasons = [str(trouble).rpartition(": ")[2] for trouble in await troubles(store)]
    assert set(reasons) <= {"NoSuchBucket", "AccessDenied"}
    assert reasons[0] == "NoSuchBucket"


async def troubles(store: S3AudioStore) -> list[StoreUnavailable]:
    """The errors that the store's methods raise. Each of them has to raise one."""

    async def read() -> None:
        async with store.local_path("call"):
            pass

    actions = [store.check(), store.save("call", streamed(bytes(6 * MIB)), PLENTY), read(), store.untouched(0)]
    raised = await asyncio.gather(*actions, store.delete("call"), return_exceptions=True)
    assert all(isinstance(each, StoreUnavailable) for each in raised), raised
    return [each for each in raised if isinstance(each, StoreUnavailable)]


async def test_missing_credentials_are_reported(
    workspace_of_store: Workspace, bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", os.environ["AWS_ENDPOINT_URL"])  # an S3 server gives no roles
    with pytest.raises(StoreUnavailable, match="no credentials: AWS_ACCESS_KEY_ID is not set, and the machine gave"):
        await S3AudioStore(S3Url(bucket, ""), workspace_of_store).check()


async def test_a_broken_download_is_resumed_where_it_broke(
    store: S3AudioStore,
    bucket: str,
    s3_server: S3Server,
    workspace_of_store: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = os.urandom(12 * MIB)
    await store.save("call", streamed(content), PLENTY)
    async with breaking(s3_server.port, break_after=5 * MIB, breaks=2) as relay:
        use(s3_server.environment(port=relay.port), monkeypatch)
        store = S3AudioStore(S3Url(bucket, "tenant/audio"), workspace_of_store)
        async with store.local_path("call") as path:
            assert path.read_bytes() == content
    assert relay.breaks_left == 0


async def test_an_upload_and_a_download_fail_if_the_server_dies(
    workspace_of_store: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_serving() as server:
        use(server.environment(), monkeypatch)
        server.create_bucket("calls")
        store = S3AudioStore(S3Url("calls", ""), workspace_of_store)
        await store.save("call", streamed(os.urandom(32 * MIB)), PLENTY)
        dead = asyncio.Event()
        download = await store._bucket.read("call")
        await anext(download.blocks)

        async def half() -> AsyncIterator[bytes]:
            yield bytes(12 * MIB)
            server.kill()
            dead.set()
            yield bytes(12 * MIB)

        async def finish_download() -> None:
            await dead.wait()
            async for _ in download.blocks:
                pass

        raised = await asyncio.gather(store.save("half", half(), PLENTY), finish_download(), return_exceptions=True)
        assert [type(each) for each in raised] == [BucketUnavailable, BucketUnavailable]


def test_memory_does_not_grow_with_the_recording(bucket: str) -> None:
    command = [sys.executable, "-m", "testing.s3_load", str(64 * MIB), bucket]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout)["growth_mib"] < 32
