"""What servers send instead of a plain recording: gzip, web pages, JSON and XML."""

import gzip
from collections.abc import AsyncGenerator

import pytest

from app.errors import FetchFailed
from app.sources import content as module
from app.sources.content import Content, recording_in
from testing.recordings import tone

WAV = tone()
GZIPPED = gzip.compress(WAV)
PAGE = b"\n<!-- login -->\n<!DOCTYPE html><html><title>Sign in</title></html>"


async def recording(sent: bytes, media_type: str = "", encoding: str = "", chunk_bytes: int = 1000) -> bytes:
    async def chunks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(sent), chunk_bytes):
            yield sent[start : start + chunk_bytes]

    return b"".join([chunk async for chunk in recording_in(chunks(), Content(media_type, encoding))])


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1_000_000])
@pytest.mark.parametrize(
    ("sent", "encoding"),
    [
        (WAV, ""),
        (WAV, "identity"),
        (WAV, "aws-chunked"),
        (WAV, "gzip"),
        (GZIPPED, "gzip"),
        (GZIPPED, "X-GZIP, aws-chunked"),
        (GZIPPED + bytes(1000), "gzip"),
        (gzip.compress(WAV[:500]) + gzip.compress(WAV[500:]), "gzip"),
    ],
    ids=["plain", "identity", "aws-chunked", "called gzip", "gzip", "two names", "padded", "two members"],
)
async def test_a_recording_is_unpacked(sent: bytes, encoding: str, chunk_bytes: int) -> None:
    assert await recording(sent, "audio/wav", encoding, chunk_bytes) == WAV


async def test_a_recording_that_unpacks_to_much_comes_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 1000)

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield gzip.compress(bytes(1_000_000))

    sizes = [len(piece) async for piece in recording_in(chunks(), Content(encoding="gzip"))]
    assert (max(sizes), sum(sizes)) == (1000, 1_000_000)


async def test_gzip_inside_a_recording_without_an_encoding_stays() -> None:
    assert await recording(GZIPPED) == GZIPPED


@pytest.mark.parametrize(
    ("sent", "encoding", "reason"),
    [
        (b"x", "br", "other than gzip"),
        (GZIPPED, "gzip, x-gzip", "packed the recording twice"),
        (GZIPPED[:-100], "gzip", "end of the gzip data is missing"),
        (GZIPPED[:-8] + bytes(8), "gzip", "gzip data is broken"),
    ],
)
async def test_packed_data_that_cannot_be_read_has_a_reason(sent: bytes, encoding: str, reason: str) -> None:
    with pytest.raises(FetchFailed, match=reason) as failure:
        await recording(sent, "audio/wav", encoding)
    assert not failure.value.transient


@pytest.mark.parametrize(
    ("sent", "media_type", "reason"),
    [
        (b"Please log in", "text/html; charset=utf-8", "with a web page, not a recording"),
        (PAGE, "audio/wav", "with a web page"),
        (PAGE, "", "with a web page"),
        (PAGE.lower() + b"x" * 5000, "application/octet-stream", "with a web page"),
        (b'{"error": "secret-4711"}', "application/problem+json", "with JSON"),
        (b"<?xml version='1.0'?><Error>secret-4711</Error>", "application/xml", "with XML"),
    ],
)
async def test_text_is_named_and_its_words_are_not_shown(sent: bytes, media_type: str, reason: str) -> None:
    for chunk_bytes in (1, 1_000_000):
        with pytest.raises(FetchFailed, match=reason) as failure:
            await recording(sent, media_type, chunk_bytes=chunk_bytes)
        assert not failure.value.transient
        assert "4711" not in failure.value.detail


async def test_a_login_page_that_is_packed_is_named_too() -> None:
    with pytest.raises(FetchFailed, match="web page"):
        await recording(gzip.compress(PAGE), "text/html", "gzip")


@pytest.mark.parametrize("media_type", ["text/html", "application/json", "text/xml", "text/plain", ""])
async def test_a_recording_with_a_wrong_media_type_is_accepted(media_type: str) -> None:
    assert await recording(WAV, media_type) == WAV


async def test_nothing_stays_nothing() -> None:
    assert await recording(b"", "audio/wav", "gzip") == b""
