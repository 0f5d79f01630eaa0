"""Lists the keys of buckets that the operator allows, for recordings that clients name by a pattern."""

from collections.abc import Sequence

from app.errors import FieldError, UrlNotAllowed
from app.storage.s3 import Bucket


class S3Listing:
    """Lists the allowed `buckets`, which are those that recordings may be read from."""

    def __init__(self, buckets: Sequence[str]) -> None:
        self._buckets = {name: Bucket(name) for name in buckets}

    def require_allowed(self, bucket: str) -> None:
        """Raises UrlNotAllowed."""
        if bucket not in self._buckets:
            detail = "names a bucket that CALLSCRIBE_SOURCE_BUCKETS does not allow"
            raise UrlNotAllowed(f"The source is not allowed: it {detail}.", errors=(FieldError("source", detail),))

    async def keys_after(self, bucket: str, folder: str, after: str | None, limit: int) -> list[str]:
        """Returns the next keys below `folder`, fewer than `limit` only if there are no more.

        Raises UrlNotAllowed and BucketUnavailable.
        """
        self.require_allowed(bucket)
        return await self._buckets[bucket].keys_after(folder, after, limit)
