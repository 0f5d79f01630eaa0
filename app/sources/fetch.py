"""Recordings that lie elsewhere: from a URL into the store, within limits of size, time and speed."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

from app.errors import FetchFailed, FieldError, InsufficientStorage, TooLarge, UrlNotAllowed
from app.storage.disk import FreeSpace
from app.storage.store import AudioStore, StoredAudio

RequireRoom = Callable[[int], Awaitable[None]]
"""Raises InsufficientStorage where there is no room for so many bytes."""


@dataclass(frozen=True)
class Pace:
    """How slow a server may be: seconds for a whole recording, and bytes a second over each span of waiting for it."""

    deadline_seconds: float = 1800.0
    min_bytes_per_second: float = 10_000.0
    span_seconds: float = 30.0


class Source(Protocol):
    """Where the recordings of a URL scheme are read."""

    def require_allowed(self, url: str) -> None:
        """Raises UrlNotAllowed for what is certain to be refused, without asking anybody."""

    def read(self, url: str, max_bytes: int, require_room: RequireRoom) -> AsyncGenerator[bytes, None]:
        """The recording's bytes as they come, after `require_room` for as many as are announced.

        Raises FetchFailed, also for what announces more than `max_bytes`, and what `require_room` raises.
        """


class Fetcher:
    """Reads each URL from the source of its scheme."""

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
        """Raises UrlNotAllowed for what can be refused at once."""
        source = self._sources.get(_scheme(url))
        if source is None:
            offered = f"its scheme must be one of {', '.join(sorted(self._sources))}"
            raise UrlNotAllowed(f"The URL may not be used: {offered}.", errors=(FieldError("url", offered),))
        source.require_allowed(url)

    async def has_room(self) -> bool:
        """Whether there is room for anything at all."""
        try:
            await self._free_space.require()
        except InsufficientStorage:
            return False
        return True

    async def fetch(self, url: str, key: str) -> StoredAudio:
        """Keep what is behind `url` under `key`. Leaves nothing when it fails.

        Raises FetchFailed, InsufficientStorage, and what the store raises.
        """
        source = self._sources.get(_scheme(url))
        if source is None:
            raise FetchFailed("This service does not fetch URLs of that scheme.")
        seconds = self._pace.deadline_seconds
        try:
            async with (
                asyncio.timeout(seconds),
                aclosing(source.read(url, self._max_bytes, self._free_space.require)) as chunks,
                aclosing(_paced(chunks, self._pace)) as paced,
            ):
                return await self._store.save(key, self._free_space.guard(paced), self._max_bytes)
        except TooLarge:
            raise FetchFailed(f"The recording is larger than {self._max_bytes} bytes.") from None
        except TimeoutError:
            raise FetchFailed(f"The recording did not arrive within {seconds:g} s.", transient=True) from None


async def _paced(chunks: AsyncGenerator[bytes, None], pace: Pace) -> AsyncGenerator[bytes, None]:
    """The same chunks. Only the time spent waiting for them counts. Raises FetchFailed where they come too slowly."""
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
        await asyncio.sleep(0)  # a source that always has something more lets the other tasks run
        yield chunk


def shown_url(source: str) -> str:
    """A source as clients and logs may see it: without credentials, query and fragment, which hold secrets."""
    parts = urlsplit(source)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def last_component(url: str) -> str:
    """The last part of a URL's path, decoded: what its owner calls the recording. Empty where there is none."""
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()
