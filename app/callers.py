"""Who may use the service: API keys, and the callers that they name.

Routes, the intake and the logs all take a caller's name from here.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.errors import Unauthorized


@dataclass(frozen=True)
class Caller:
    """Somebody who sends requests. `name` is the name that the operator gave to the API key."""

    name: str


ANONYMOUS = Caller("anonymous")


class ApiKeys:
    """The configured keys by the name of their caller. Only their hashes are kept in memory.

    If no key is configured (an empty mapping), `serve` listens on loopback only, and everybody on this machine is a
    caller. If authentication is off (None), everybody is a caller.
    """

    def __init__(self, keys: Mapping[str, Sequence[str]] | None) -> None:
        self.guards_loopback = keys is not None and not keys
        self._hashes = [
            (name, hashlib.sha256(key.encode()).digest()) for name, many in (keys or {}).items() for key in many
        ]

    def name_of(self, key: str) -> str | None:
        """The name of this key's caller, or None if it is not a configured key."""
        hashed = hashlib.sha256(key.encode()).digest()
        names = [name for name, known in self._hashes if hmac.compare_digest(known, hashed)]
        return names[0] if names else None

    def identify(self, key: str | None) -> Caller:
        """The caller with this key. Raises Unauthorized."""
        if not self._hashes:
            return ANONYMOUS
        name = self.name_of(key) if key is not None else None
        if name is None:
            raise Unauthorized(
                "Send `Authorization: Bearer <key>` with one of the configured API keys.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return Caller(name)
