"""Signs and verifies events with HMAC-SHA256, as https://www.standardwebhooks.com specifies in version 1.0.0. Pure."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)  # what the specification allows
NEW_SECRET_BYTES = 32
TOLERANCE = timedelta(minutes=5)


def new_secret() -> str:
    """Returns a random secret in the form that the specification prescribes: `whsec_` and Base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(NEW_SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """Decode the key of a `whsec_…` secret. Raises ValueError if it is wrong. The error does not show the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError("write whsec_ and 24 to 64 bytes in Base64")
    return key


def sign(secret: str, event_id: str, timestamp: int, body: bytes) -> str:
    """Returns the `v1,…` signature of an event. `timestamp` is in seconds since 1970."""
    content = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), content, hashlib.sha256).digest()).decode()


def headers(secrets: Sequence[str], event_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Returns the three headers of an attempt at the time `at`, with one signature for each secret."""
    timestamp = int(at.timestamp())
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, event_id, timestamp, body) for secret in secrets),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """Returns whether the sender of a request had the secret and signed the request within TOLERANCE of `now`.

    The names of the headers are in lower case.
    """
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        return False
    expected = sign(secret, headers.get("webhook-id", ""), int(timestamp), body).encode()
    signatures = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(expected, signature) for signature in signatures)
