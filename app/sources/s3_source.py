"""Reads recordings that clients name as `s3://bucket/key`, from buckets that the operator allows.

The allowed buckets are the only protection, because the service reads with its own credentials. The S3 library belongs
to `storage/s3.py`, which is the only module that may import it.
"""

from collections.abc import AsyncGenerator, Sequence

from app.errors import FetchFailed, FieldError, UrlNotAllowed
from app.sources.content import Content, RequireSpace
from app.storage.s3 import Bucket, BucketUnavailable, Download
from app.storage.s3_url import S3Url, parse_s3_url

DENIED = "AccessDenied"


class S3Source:
    """Reads objects of the allowed `buckets`."""

    def __init__(self, buckets: Sequence[str]) -> None:
        self._buckets = {name: Bucket(name) for name in buckets}

    def require_allowed(self, url: str) -> None:
        """Raises UrlNotAllowed unless the URL names an object in an allowed bucket."""
        try:
            self._address(url)
        except ValueError as error:
            raise UrlNotAllowed(
                f"The URL is not allowed: it {error}.", errors=(FieldError("url", str(error)),)
            ) from None

    async def read(
        self, url: str, max_bytes: int, require_space: RequireSpace, content: Content
    ) -> AsyncGenerator[bytes, None]:
        """Yields the object's bytes as they arrive.

        Raises FetchFailed if the object cannot be read or has more than `max_bytes`, and raises what `require_space`
        raises.
        """
        try:
            download = await self._download(url)
            if download.total_bytes > max_bytes:
                raise FetchFailed(f"The recording is larger than {max_bytes} bytes.")
            await require_space(download.total_bytes)
            content.media_type, content.encoding = download.media_type, download.encoding
            content.disposition = download.disposition.encode()
            async for block in download.blocks:
                yield block
        except ValueError as error:
            raise FetchFailed(f"The URL may no longer be used: it {error}.") from None
        except FileNotFoundError:
            raise FetchFailed("There is no such object in the bucket.", not_ready=True) from None
        except BucketUnavailable as error:
            detail = f"The object store did not give the recording: {error.reason}."
            # S3 denies access also to an object that does not exist, if the service may not list the bucket.
            raise FetchFailed(detail, transient=error.transient, not_ready=error.reason == DENIED) from None

    async def _download(self, url: str) -> Download:
        """Begin to read the object. If there is none of the decoded name, try the name as it is written in the URL.

        Amazon's own tools show `s3://` addresses without percent-encoding, so a `%` may be part of the name.
        """
        address = self._address(url)
        bucket, written = self._buckets[address.bucket], url.partition(f"//{address.bucket}/")[2]
        try:
            return await bucket.read(address.key)
        except FileNotFoundError:
            if written == address.key:
                raise
            return await bucket.read(written)

    def _address(self, url: str) -> S3Url:
        """Returns the bucket and the key. Raises ValueError, whose text says what is wrong with the URL."""
        address = parse_s3_url(url)
        if address.bucket not in self._buckets:
            raise ValueError("names a bucket that CALLSCRIBE_SOURCE_BUCKETS does not allow")
        if not address.key or address.key.endswith("/"):
            raise ValueError("names a bucket or a folder, but no object in it")
        return address
