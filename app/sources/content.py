"""What a server sends for a URL → the recording in it: without gzip, and refused if it is a web page or other text.

It exists so that all sources treat these alike. Error texts never contain words of the server.
"""

import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from app.errors import FetchFailed

PIECE_BYTES = 1024 * 1024  # of unpacked content, so that a small chunk that holds much takes little time and memory
LOOKED_AT_BYTES = 512  # enough to recognize text. Every format of recordings has binary data by then
GZIP_MAGIC = b"\x1f\x8b"
GZIP_BITS = 31  # zlib's largest window, with gzip's header
NO_PACKING = {"", "identity", "aws-chunked"}  # some tools write the last one into S3 by mistake
GZIP = {"gzip", "x-gzip"}
BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
WEB_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
TEXT_STARTS = {"json": (b"{", b"["), "xml": (b"<",)}

RequireSpace = Callable[[int], Awaitable[None]]
"""Raises InsufficientStorage if there is no space for this number of bytes."""


@dataclass
class Content:
    """What a server says about the content of a URL. The source fills it in before the first bytes."""

    media_type: str = ""
    encoding: str = ""
    disposition: bytes = b""


async def recording_in(chunks: AsyncGenerator[bytes, None], content: Content) -> AsyncGenerator[bytes, None]:
    """Yields the recording. Raises FetchFailed if the content is packed in an unknown way, or is no recording."""
    async with aclosing(_unpacked(chunks, content)) as unpacked:
        beginning = b""
        async for chunk in unpacked:
            beginning += chunk
            if len(beginning) >= LOOKED_AT_BYTES:
                break
        if beginning:
            _refuse_text(content.media_type, beginning[:LOOKED_AT_BYTES])
            yield beginning
        async for chunk in unpacked:
            yield chunk


async def _unpacked(chunks: AsyncIterator[bytes], content: Content) -> AsyncGenerator[bytes, None]:
    """Yields the chunks without the content encoding that the server named.

    If it named gzip, but the content is not gzip, the chunks stay as they are.
    """
    gunzip, beginning = _Gunzip(), b""
    packed: bool | None = None
    async for chunk in chunks:
        if packed is None:
            beginning += chunk
            if (named := _is_gzip(content.encoding)) and len(beginning) < len(GZIP_MAGIC):
                continue
            packed, chunk = named and beginning.startswith(GZIP_MAGIC), beginning
        for piece in gunzip.pieces(chunk) if packed else (chunk,):
            yield piece
    if packed and (last := gunzip.end()):
        yield last
    elif packed is None and beginning:
        yield beginning


def _is_gzip(encoding: str) -> bool:
    """Raises FetchFailed for any other encoding."""
    named = [name for part in encoding.split(",") if (name := part.strip().lower()) not in NO_PACKING]
    if not GZIP.issuperset(named):
        raise FetchFailed("The server sent the recording in a content encoding other than gzip.")
    if len(named) > 1:
        raise FetchFailed("The server packed the recording twice.")
    return bool(named)


class _Gunzip:
    """Unpacks gzip as it arrives, also several members that follow each other."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=GZIP_BITS)
        self._after_end = b""

    def pieces(self, packed: bytes) -> Iterator[bytes]:
        """Yields pieces of at most PIECE_BYTES. Raises FetchFailed if the data is broken."""
        while packed:
            if self._member.eof:
                packed = self._after_end + packed
                if not packed.startswith(GZIP_MAGIC):  # some tools pad the end
                    self._after_end = packed[: len(GZIP_MAGIC)]
                    return
                self._member, self._after_end = zlib.decompressobj(wbits=GZIP_BITS), b""
            try:
                piece = self._member.decompress(packed, PIECE_BYTES)
            except zlib.error:
                raise FetchFailed("The server sent the recording as gzip, but the gzip data is broken.") from None
            if piece:
                yield piece
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def end(self) -> bytes:
        """Returns what was not unpacked yet. Raises FetchFailed if the packed data is not complete."""
        last = self._member.flush()
        if not self._member.eof:
            raise FetchFailed("The server sent the recording as gzip, but the end of the gzip data is missing.")
        return last


def _refuse_text(media_type: str, beginning: bytes) -> None:
    """Raises FetchFailed if a content that begins like this is a web page, JSON or XML.

    A recording that a server calls `text/html` by mistake is accepted, because it has binary data.
    """
    if BINARY.search(beginning):
        return
    kind = media_type.partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") or WEB_PAGE.match(beginning):
        raise FetchFailed(
            "The address answered with a web page, not a recording. It may require a login, or the link may have "
            "expired."
        )
    for ending, name in (("json", "JSON"), ("xml", "XML")):
        if kind.endswith(ending) and beginning.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(TEXT_STARTS[ending]):
            raise FetchFailed(f"The address answered with {name}, not a recording.")
