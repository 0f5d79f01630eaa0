"""A bucket of S3, or of another store with the same protocol. Only this module imports the S3 library.

Credentials, region and endpoint come from the AWS variables, which the library reads (docs/deploy.md).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from obstore import sign_async
from obstore.exceptions import BaseError
from obstore.store import S3Store

from app.storage.store import StoreUnavailable

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig

PART_BYTES = 5 * 1024 * 1024  # the smallest part that S3 accepts
PARTS_AT_ONCE = 2
READ_BYTES = 1024 * 1024
CHECK_SECONDS = 3.0
ANSWER_SECONDS = 20.0  # for one answer with all retries, because the library itself would try for minutes
LISTING_SECONDS = 60.0
COPY_SECONDS = 60.0
PROGRESS_SECONDS = 30.0  # for a part of an upload, or a block of a download
UNDO_SECONDS = 3.0  # a shutdown cannot wait longer for a store that does not answer
SIGNED_FOR = timedelta(minutes=1)
NOTHING = ".nothing"  # the name of no object
NO_ANSWER = "no answer"
ROLE_ASKED_FOR = re.compile(r"Error performing [A-Z]+ http://[^/\s]+/latest/(api/token|meta-data/)")

CLIENT: "ClientConfig" = {
    "allow_http": True,  # used only if AWS_ENDPOINT_URL begins with http://
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(hours=1),
}
RETRIES: "RetryConfig" = {
    "max_retries": 5,
    "retry_timeout": timedelta(minutes=3),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}


class BucketUnavailable(StoreUnavailable):
    """The bucket cannot be used. `reason` is S3's own code, such as NoSuchBucket, or says how the connection failed."""

    def __init__(self, reason: str, *, transient: bool) -> None:
        super().__init__(f"the bucket cannot be used: {reason}")
        self.reason = reason
        self.transient = transient
        """Whether a retry may help without an operator."""


@dataclass(frozen=True, slots=True)
class Download:
    """An object that is being read. `total_bytes` is the size of the whole object, also if only a part is read.

    `media_type`, `encoding` and `disposition` are what the object's writer said about its content. After a broken
    connection, reading continues at the same offset. `blocks` raises BucketUnavailable.
    """

    total_bytes: int
    blocks: AsyncIterator[bytes]
    media_type: str = ""
    encoding: str = ""
    disposition: str = ""


class Bucket:
    """The objects of a bucket, or those under `prefix`. All methods raise BucketUnavailable."""

    def __init__(self, name: str, prefix: str = "") -> None:
        self._name = name
        self._objects = S3Store(
            name, prefix=prefix or None, client_options=CLIENT, retry_config=RETRIES, disable_bulk_delete=True
        )
        self._undoing: set[asyncio.Task[None]] = set()

    async def read(self, key: str, span: range | None = None) -> Download:
        """Begin to read an object, or the bytes at the offsets `span`. Raises FileNotFoundError if there is none.

        Returns as soon as the size is known. The bytes follow while the caller iterates over them.
        """
        options: GetOptions = {} if span is None else {"range": (span.start, span.stop)}
        with _own_errors(key):
            async with _within(ANSWER_SECONDS):
                objects, path = await self._with_path(key)
                found = await objects.get_async(path, options=options)

        async def blocks() -> AsyncIterator[bytes]:
            stream = aiter(found.stream(min_chunk_size=READ_BYTES))
            while True:
                with _own_errors(key):
                    async with _within(PROGRESS_SECONDS):
                        block = await anext(stream, None)
                if block is None:
                    return
                yield bytes(block)

        said = found.attributes
        return Download(
            found.meta["size"],
            blocks(),
            said.get("Content-Type", ""),
            said.get("Content-Encoding", ""),
            said.get("Content-Disposition", ""),
        )

    async def _with_path(self, key: str) -> tuple[S3Store, str]:
        """A store and the path by which it finds `key`. The library refuses or changes paths with empty parts.

        So the beginning of such a key, up to its last `//`, becomes a part of the endpoint. A signed URL tells where
        the bucket is, because the library finds that in many variables.
        """
        start, empty, end = f"/{key}".rpartition("//")
        if not empty:
            return self._objects, key
        signed = await sign_async(self._objects, "GET", NOTHING, SIGNED_FOR)
        place = signed.partition("?")[0].removesuffix(NOTHING).removesuffix("/") + quote(f"{start}/")
        return S3Store(
            self._name,
            endpoint=place,
            virtual_hosted_style_request=True,
            client_options=CLIENT,
            retry_config=RETRIES,
        ), end

    async def write(self, key: str, blocks: AsyncIterator[bytes]) -> None:
        """Upload a stream in parts while it arrives. The bucket gets all of it or nothing.

        At most three parts are in memory. An error or a cancellation aborts the upload, because an upload that is only
        dropped would leave its parts in the bucket. If the store does not answer, the upload is aborted in the
        background, because a shutdown cannot wait for it.
        """
        source = _Source()
        upload = asyncio.create_task(self._upload(key, source))
        try:
            async for block in blocks:
                await source.give(block, upload)
            await source.end(upload)
            async with _within(PROGRESS_SECONDS):
                await asyncio.shield(upload)
        except BaseException:
            source.abort()
            undoing = asyncio.create_task(self._undo(key, upload))
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            await asyncio.wait({undoing}, timeout=UNDO_SECONDS)
            raise

    async def _undo(self, key: str, upload: "asyncio.Task[None]") -> None:
        """Wait until an upload has ended, and erase its object if it was complete by then.

        If that fails, retention finds the object as an orphan.
        """
        await asyncio.wait({upload})
        if upload.exception() is None:
            with suppress(BucketUnavailable):
                await self.delete(key)

    async def _upload(self, key: str, source: "_Source") -> None:
        with _own_errors(key):
            await self._objects.put_async(
                key, source.blocks(), use_multipart=True, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
            )

    async def put(self, key: str, body: bytes, media_type: str) -> None:
        """Write a small object in one request, so that the bucket gets all of it or nothing."""
        with _own_errors(key):
            async with _within(ANSWER_SECONDS):
                await self._objects.put_async(key, body, attributes={"Content-Type": media_type}, use_multipart=False)

    async def copy(self, key: str, copy_key: str) -> None:
        """Let the bucket write an object under a second key too. Raises FileNotFoundError if there is none."""
        with _own_errors(key):
            async with _within(COPY_SECONDS):
                await self._objects.copy_async(key, copy_key)

    async def delete(self, key: str) -> None:
        """Erase an object. A missing object is no error."""
        with _own_errors(key):
            async with _within(ANSWER_SECONDS):
                await self._objects.delete_async(key)

    async def written_before(self, moment: datetime) -> list[str]:
        """Returns the keys of the objects that the bucket dates before `moment`. Keys with a slash are left out."""
        with _own_errors():
            found = await self._objects.list_with_delimiter_async()
        return [each["path"] for each in found["objects"] if each["last_modified"] < moment]

    async def keys_after(self, folder: str, after: str | None, limit: int) -> list[str]:
        """Returns the next keys below `folder` in the order of the bucket, which need not be the alphabet's.

        They follow the key `after`, or are the first ones. They are fewer than `limit` only if there are no more.
        """
        with _own_errors():
            async with _within(LISTING_SECONDS):
                found = self._objects.list(folder or None, offset=after, chunk_size=limit)
                async for page in found:
                    return [each["path"] for each in page]
        return []

    async def check(self) -> None:
        """Ask for an object that does not exist.

        Only a bucket that we may read and list answers that it is missing. Any other answer raises BucketUnavailable.
        """
        with suppress(FileNotFoundError):
            async with _within(CHECK_SECONDS):
                await self.read(NOTHING)


class _Aborted(Exception):
    """Raised into the library, so that it aborts the upload."""


class _Source:
    """Passes the blocks of an upload, one at a time, from the task that reads them to the library."""

    def __init__(self) -> None:
        self._next: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._aborted = False

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yields the blocks to the library, which aborts the upload if this raises."""
        while (block := await self._next.get()) is not None:
            yield block
        if self._aborted:
            raise _Aborted

    async def give(self, block: bytes, upload: "asyncio.Task[None]") -> None:
        """Wait until the library has taken the block before this one, and pass this one.

        Raises the error of the upload if that ends meanwhile, and BucketUnavailable if the library takes nothing for
        PROGRESS_SECONDS.
        """
        await self._put(block, upload)

    async def end(self, upload: "asyncio.Task[None]") -> None:
        """Let the upload be completed after the blocks so far. Raises what `give` raises."""
        await self._put(None, upload)

    async def _put(self, block: bytes | None, upload: "asyncio.Task[None]") -> None:
        putting = asyncio.create_task(self._next.put(block))
        try:
            both = {putting, upload}
            done, _ = await asyncio.wait(both, timeout=PROGRESS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise BucketUnavailable(NO_ANSWER, transient=True)
        finally:
            putting.cancel()
        if upload.done():
            upload.result()

    def abort(self) -> None:
        """Let the library abort the upload. This does not wait for it."""
        self._aborted = True
        while not self._next.empty():
            self._next.get_nowait()
        self._next.put_nowait(None)


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """Raises BucketUnavailable if the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise BucketUnavailable(NO_ANSWER, transient=True) from None


@contextmanager
def _own_errors(key: str = "") -> Iterator[None]:
    """Raises FileNotFoundError or BucketUnavailable instead of the library's errors.

    The texts of those contain addresses and, from S3, signed requests.
    """
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        text = str(error)
        code = re.search(r"<Code>(\w+)</Code>", text)
        status = re.search(r"non-2xx status code: (\d+ [\w ]+)", text)
        if isinstance(error, FileNotFoundError) and not (code and code[1] == "NoSuchBucket"):
            raise FileNotFoundError(key) from None
        if isinstance(error, BaseError) or code:
            reason = code[1] if code else status[1] if status else "no connection, or it broke"
            if ROLE_ASKED_FOR.search(text):
                reason = f"no credentials: AWS_ACCESS_KEY_ID is not set, and the machine gave no role ({reason})"
            refused = status is not None and status[1].startswith("4")
            raise BucketUnavailable(reason, transient=not refused) from None
