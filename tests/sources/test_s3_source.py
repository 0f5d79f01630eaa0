"""Recordings from `s3://` URLs: read from allowed buckets, otherwise refused or failed with the reason."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from app.errors import FetchFailed, InsufficientStorage, UrlNotAllowed
from app.sources.fetch import RequireSpace
from app.sources.s3_source import S3Source
from app.storage.s3 import Bucket
from testing.breaking_relay import breaking
from testing.s3_server import S3Server

CONTENT = os.urandom(7 * 1024 * 1024)
PLENTY = 100 * 1024 * 1024


async def put(bucket: str, key: str, content: bytes = CONTENT) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        yield content

    await Bucket(bucket).write(key, blocks())


async def space_for_all(coming: int) -> None:
    pass


async def read(
    source: S3Source, url: str, max_bytes: int = PLENTY, require_space: RequireSpace = space_for_all
) -> bytes:
    return b"".join([block async for block in source.read(url, max_bytes, require_space)])


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
        ("s3://archive/a//b", "parts"),
        ("s3://archive//b", "parts"),
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
    assert (failed.detail, failed.transient) == ("There is no such object in the bucket.", False)


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
    assert not failed.transient


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
