"""Recordings from `s3://` URLs: read from allowed buckets, otherwise refused or failed with the reason."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator

import pytest
from obstore.store import S3Store

from app.errors import FetchFailed, InsufficientStorage, UrlNotAllowed
from app.sources.content import Content, RequireSpace, recording_in
from app.sources.names import name_in
from app.sources.s3_source import S3Source
from app.storage.s3 import Bucket
from testing.breaking_relay import breaking
from testing.origin import answering
from testing.s3_server import S3Server

CONTENT = os.urandom(7 * 1024 * 1024)
PLENTY = 100 * 1024 * 1024
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
LAST_MODIFIED = "Sat, 21 Nov 2026 09:30:00 GMT"


async def put(bucket: str, key: str, content: bytes = CONTENT) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        yield content

    await Bucket(bucket).write(key, blocks())


async def space_for_all(coming: int) -> None:
    pass


async def read(
    source: S3Source, url: str, max_bytes: int = PLENTY, require_space: RequireSpace = space_for_all
) -> bytes:
    return b"".join([block async for block in source.read(url, max_bytes, require_space, Content())])


async def failure(source: S3Source, url: str, max_bytes: int = PLENTY) -> FetchFailed:
    with pytest.raises(FetchFailed) as raised:
        await read(source, url, max_bytes)
    return raised.value


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("2026/11/call 1.wav", "2026/11/call%201.wav"),
        ("Gespräch+1.wav", "Gespr%C3%A4ch+1.wav"),
        ("Gespräch.wav", "Gespräch.wav"),
        ("100%25?#.wav", "100%2525%3F%23.wav"),
    ],
)
async def test_an_object_of_an_allowed_bucket_is_read(bucket: str, key: str, path: str) -> None:
    await put(bucket, key, b"call")
    source = S3Source([bucket])
    source.require_allowed(f"s3://{bucket}/{path}")
    assert await read(source, f"s3://{bucket}/{path}") == b"call"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://calls/call.wav", "CALLSCRIBE_SOURCE_BUCKETS"),
        ("s3://archive", "no object"),
        ("s3://archive/", "no object"),
        ("s3://archive/2026/", "no object"),
        ("s3://archive/../calls/b", "parts"),
        ("s3://archive/%2e%2e/b", "parts"),
        ("s3://archive/b%00", "control characters"),
        ("s3://archive/a%0Ab", "control characters"),
        ("s3://archive/a\nb", "control characters"),
        ("s3://archive/%7f", "control characters"),
        ("s3://archive/%ff", "not UTF-8"),
        ("s3://archive/\ud800", "not UTF-8"),
        ("s3://archive/b?versionId=1", "percent-encode"),
        ("s3://archive/b#1", "percent-encode"),
        ("s3://user:secret@archive/b", "name of a bucket"),
        ("s3://archive:9000/b", "name of a bucket"),
        ("s3:///b", "name of a bucket"),
        ("https://archive/b", "begin with s3://"),
    ],
)
def test_a_url_that_is_not_allowed_is_refused_immediately(url: str, reason: str) -> None:
    with pytest.raises(UrlNotAllowed, match=reason):
        S3Source(["archive"]).require_allowed(url)


def test_no_bucket_is_allowed_by_default() -> None:
    with pytest.raises(UrlNotAllowed, match="CALLSCRIBE_SOURCE_BUCKETS"):
        S3Source(()).require_allowed("s3://calls/call.wav")


async def test_a_url_that_is_no_longer_allowed_fails_its_job() -> None:
    assert "CALLSCRIBE_SOURCE_BUCKETS" in (await failure(S3Source(()), "s3://calls/call.wav")).detail


async def test_an_object_over_the_limit_is_refused_before_it_is_read(bucket: str) -> None:
    await put(bucket, "long.wav")
    source = S3Source([bucket])
    assert "larger than 100 bytes" in (await failure(source, f"s3://{bucket}/long.wav", 100)).detail
    assert await read(source, f"s3://{bucket}/long.wav", len(CONTENT)) == CONTENT


async def test_a_missing_object_is_reported(bucket: str) -> None:
    failed = await failure(S3Source([bucket]), f"s3://{bucket}/gone.wav")
    assert (failed.detail, failed.not_ready) == ("There is no such object in the bucket.", True)


async def test_a_missing_bucket_is_reported(bucket: str) -> None:
    failed = await failure(S3Source(["nowhere"]), "s3://nowhere/call.wav")
    assert "NoSuchBucket" in failed.detail
    assert not failed.transient


@pytest.mark.parametrize(
    ("key", "secret", "reason"),
    [("owner", "not-the-secret", "SignatureDoesNotMatch"), ("stranger", "stranger-secret", "AccessDenied")],
)
async def test_a_refusal_by_the_store_is_reported_without_secrets(
    bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, key: str, secret: str, reason: str
) -> None:
    await put(bucket, "call.wav", b"call")
    for name, value in s3_server.environment(key, secret).items():
        monkeypatch.setenv(name, value)
    failed = await failure(S3Source([bucket]), f"s3://{bucket}/call.wav")
    assert failed.detail == f"The object store did not give the recording: {reason}."
    assert failed.not_ready is (reason == "AccessDenied")
    assert failed.transient is failed.not_ready


async def test_a_broken_connection_is_resumed_a_limited_number_of_times(
    bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(bucket, "call.wav")
    async with breaking(s3_server.port, break_after=5 * 1024 * 1024, breaks=1) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        source = S3Source([bucket])
        assert await read(source, f"s3://{bucket}/call.wav") == CONTENT
        relay.breaks_left = 100
        relay.break_after = 64 * 1024
        failed, away = await asyncio.gather(
            failure(source, f"s3://{bucket}/call.wav"),
            failure(_unreachable(monkeypatch, bucket), f"s3://{bucket}/call.wav"),
        )
    for each in (failed, away):
        assert each.transient
        assert "no connection, or it broke" in each.detail


def _unreachable(monkeypatch: pytest.MonkeyPatch, bucket: str) -> S3Source:
    """A source whose server cannot be reached."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    return S3Source([bucket])


async def test_an_object_is_not_read_if_there_is_no_space_for_it(bucket: str) -> None:
    await put(bucket, "call.wav")

    async def room_for_less(coming: int) -> None:
        assert coming == len(CONTENT)
        raise InsufficientStorage

    with pytest.raises(InsufficientStorage):
        await read(S3Source([bucket]), f"s3://{bucket}/call.wav", require_space=room_for_less)


async def test_the_name_of_an_object_may_be_written_without_percent_encoding(bucket: str) -> None:
    await put(bucket, "k with space+plus%20percent", b"call")
    source, url = S3Source([bucket]), f"s3://{bucket}/k with space+plus%20percent"
    source.require_allowed(url)
    assert await read(source, url) == b"call"


@pytest.mark.parametrize("key", ["/k", "a//b", "a//b//c d+e%25", "//k"])
async def test_a_key_with_empty_parts_is_requested_unchanged(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """The server of these tests would merge slashes, so an HTTP server records what is requested."""
    with answering() as origin:
        path = f"/archive/{key}".replace(" ", "%20").replace("+", "%2B")
        origin.answers[path] = lambda exchange: exchange.whole(b"call", ETag='"1"', Last_Modified=LAST_MODIFIED)
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{origin.port}"}.items():
            monkeypatch.setenv(name, value)
        source, url = S3Source(["archive"]), f"s3://archive/{key}"
        source.require_allowed(url)
        assert await read(source, url) == b"call"


async def test_a_request_for_a_key_with_empty_parts_has_a_valid_signature(bucket: str) -> None:
    await put(bucket, "a/b", b"call")
    assert await read(S3Source([bucket]), f"s3://{bucket}/a//b") == b"call"


async def test_what_the_writer_said_about_an_object_is_known(bucket: str, s3_server: S3Server) -> None:
    said = {
        "Content-Encoding": "gzip",
        "Content-Type": "audio/wav",
        "Content-Disposition": 'attachment; filename="a.wav"',
    }
    store = S3Store(bucket, client_options={"allow_http": True})
    await store.put_async("call.wav", gzip.compress(b"call"), attributes=said)
    content = Content()
    blocks = S3Source([bucket]).read(f"s3://{bucket}/call.wav", PLENTY, space_for_all, content)
    assert b"".join([block async for block in recording_in(blocks, content)]) == b"call"
    assert name_in(content.disposition) == "a.wav"
