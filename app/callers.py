"""Who may use the service: API keys and the callers that they name.

It exists so that routes, the intake and the logs agree on a caller's name.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import Unauthorized


@dataclass(frozen=True)
class Caller:
    """The name that the operator gave to the key."""

    name: str


ANONYMOUS = Caller("anonymous")


class ApiKeys:
    """The configured keys, held as hashes.

    Without any key, everybody on this machine is a caller, because `serve` then listens on loopback only.
    With None instead of keys, everybody is a caller.
    """

    def __init__(self, keys: Mapping[str, str] | None) -> None:
        self.guards_loopback = keys is not None and not keys
        self._hashes = {name: hashlib.sha256(key.encode()).digest() for name, key in (keys or {}).items()}

    def name_of(self, key: str) -> str | None:
        """The name of this key, or None if it is not a configured key."""
        hashed = hashlib.sha256(key.encode()).digest()
        names = [name for name, known in self._hashes.items() if hmac.compare_digest(known, hashed)]
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
