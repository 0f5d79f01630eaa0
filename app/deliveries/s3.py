"""The channel that writes transcripts as objects of buckets."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from uuid import UUID

from app.deliveries.channels import ATTEMPT_SECONDS, Outgoing, Reply, Result, Stopwatch
from app.deliveries.outputs import S3_SCHEME
from app.storage.s3 import Bucket, BucketUnavailable
from app.transcripts.formats import Format

Render = Callable[[UUID, Format], Awaitable[bytes | None]]
"""Returns the transcript of a job in one format, or None if there is no transcript any more."""

TRANSCRIPT_GONE = "transcript_gone"


class S3Channel:
    def __init__(self, render: Render, attempt_seconds: float = ATTEMPT_SECONDS) -> None:
        self._render = render
        self._seconds = attempt_seconds
        self._bucket = cache(Bucket)

    async def send(self, delivery: Outgoing) -> Reply:
        """Write the object, whole or not at all. An object of the same name is replaced.

        The error of the reply is `timeout`, `transcript_gone`, or S3's own code such as `AccessDenied`.
        """
        assert delivery.format is not None
        attempt, result, error = Stopwatch(), Result.TRY_AGAIN, None
        name, _, key = delivery.url.removeprefix(S3_SCHEME).partition("/")
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._render(delivery.transcription_id, delivery.format)
                if body is None:
                    result, error = Result.REFUSED, TRANSCRIPT_GONE
                else:
                    await self._bucket(name).put(key, body, delivery.format.media_type)
                    result = Result.DELIVERED
        except TimeoutError:
            error = "timeout"
        except BucketUnavailable as trouble:
            error = trouble.reason
        return attempt.reply(result, error=error)
