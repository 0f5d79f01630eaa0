"""Reads the JSON body of a request, which is small."""

from collections.abc import AsyncIterator

from app.errors import TooLarge

JSON_BODY_BYTES = 64 * 1024


async def read_json(stream: AsyncIterator[bytes], max_bytes: int = JSON_BODY_BYTES) -> bytes:
    """Returns the body. Raises TooLarge if it has more than `max_bytes`."""
    body = b""
    async for chunk in stream:
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"The JSON body is larger than {max_bytes} bytes.")
    return body
