"""Fetches a recording from its URL into the store, within limits of size, time and speed.

Each URL scheme has a source, which only yields the bytes of a recording. Limits and the store belong to the fetcher, so
that they are the same for all sources.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from app.errors import FetchFailed, FieldError, InsufficientStorage, TooLarge, UrlNotAllowed
from app.sources.content import Content, RequireSpace, recording_in
from app.sources.names import name_in
from app.storage.disk import FreeSpace
from app.storage.store import AudioStore, StoredAudio, StoreUnavailable


@dataclass(frozen=True)
class Fetched:
    """A fetched recording, and its name if the server named it."""

    audio: StoredAudio
    filename: str | None


@dataclass(frozen=True)
class Pace:
    """How slow a server may be. A fetch fails if it takes longer than `deadline_seconds`.

    It fails too if the server sends less than `min_bytes_per_second` over a span of `span_seconds`. Only time that is
    spent waiting for the server belongs to the span.
    """

    deadline_seconds: float = 1800.0
    min_bytes_per_second: float = 10_000.0
    span_seconds: float = 30.0


class Source(Protocol):
    """Reads the recordings of one URL scheme."""

    def require_allowed(self, url: str) -> None:
        """Raises UrlNotAllowed if the URL can be refused without a look-up or a request."""

    def read(
        self, url: str, max_bytes: int, require_space: RequireSpace, content: Content
    ) -> AsyncGenerator[bytes, None]:
        """Yields the content of the URL as it arrives, after it has filled in what the server says about `content`.

        First calls `require_space` with the announced number of bytes. Raises FetchFailed if the recording cannot be
        read or announces more than `max_bytes`, and raises what `require_space` raises.
        """


class Fetcher:
    """Fetches recordings. `sources` has a source for each URL scheme."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        store: AudioStore,
        free_space: FreeSpace,
        *,
        max_bytes: int,
        pace: Pace | None = None,
    ) -> None:
        self._sources = sources
        self._store = store
        self._free_space = free_space
        self._max_bytes = max_bytes
        self._pace = pace or Pace()

    def require_allowed(self, url: str) -> None:
        """Raises UrlNotAllowed if the URL can be refused without a look-up or a request."""
        source = self._sources.get(_scheme(url))
        if source is None:
            reason = f"its scheme must be one of {', '.join(sorted(self._sources))}"
            raise UrlNotAllowed(f"The URL is not allowed: {reason}.", errors=(FieldError("url", reason),))
        source.require_allowed(url)

    async def has_space(self) -> bool:
        """Returns whether there is space for another recording. Not if the disk does not answer."""
        try:
            await self._free_space.require()
        except (InsufficientStorage, StoreUnavailable):
            return False
        return True

    async def fetch(self, url: str, key: str) -> Fetched:
        """Fetch the recording at `url` and store it under `key`. If this raises, it has stored nothing.

        Raises FetchFailed, InsufficientStorage, and what the store raises.
        """
        source = self._sources.get(_scheme(url))
        if source is None:
            raise FetchFailed("This service does not fetch URLs of that scheme.")
        seconds, content = self._pace.deadline_seconds, Content()
        try:
            async with (
                asyncio.timeout(seconds),
                aclosing(source.read(url, self._max_bytes, self._free_space.require, content)) as chunks,
                aclosing(_paced(chunks, self._pace)) as paced,
                aclosing(recording_in(paced, content)) as recording,
            ):
                audio = await self._store.save(key, self._free_space.guard(recording), self._max_bytes)
                return Fetched(audio, name_in(content.disposition))
        except TooLarge:
            raise FetchFailed(f"The recording is larger than {self._max_bytes} bytes.") from None
        except TimeoutError:
            raise FetchFailed(f"The recording did not arrive within {seconds:g} s.", transient=True) from None


async def _paced(chunks: AsyncGenerator[bytes, None], pace: Pace) -> AsyncGenerator[bytes, None]:
    """Yields the same chunks. Raises FetchFailed if the server sends them too slowly."""
    speed = f"{pace.min_bytes_per_second:g} bytes a second over {pace.span_seconds:g} s"
    too_slow = FetchFailed(f"The server sent less than {speed}.", transient=True)
    waited, arrived = 0.0, 0
    while True:
        started = time.monotonic()
        try:
            async with asyncio.timeout(pace.span_seconds):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise too_slow from None
        waited, arrived = waited + time.monotonic() - started, arrived + len(chunk)
        if waited >= pace.span_seconds:
            if arrived < pace.min_bytes_per_second * waited:
                raise too_slow
            waited, arrived = 0.0, 0
        await asyncio.sleep(0)  # so that other tasks run too, even if the source always has a chunk ready
        yield chunk


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()
